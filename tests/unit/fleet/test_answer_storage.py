"""Where a fleet's gateways keep what they answer later, and what the fleet says of it."""

from dataclasses import replace

import pytest
from fleet_builders import declared_fleet, fleet, wanted, wanted_pool

from tierline.fleet.answer_storage import answers_verdict
from tierline.fleet.fleet_plan import plan_fleet
from tierline.fleet.fleet_status import fleet_verdicts
from tierline.fleet.wanted import AnswersIn, StoredAnswers
from tierline.fleet.wanting import wanted_fleet


def pod_of(answers: StoredAnswers):
    plan = plan_fleet(replace(fleet(), wanted=wanted(wanted_pool(), answers=answers)))
    (deployment,) = (it for it in plan.applies if it["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    env = {entry["name"]: entry.get("value") for entry in spec["containers"][0]["env"]}
    return deployment["spec"]["strategy"]["type"], spec, env


def test_without_a_claim_answers_live_as_long_as_the_pod():
    strategy, spec, env = pod_of(StoredAnswers(mebibytes=400))
    assert strategy == "RollingUpdate"
    assert spec["volumes"] == [{"name": "answers", "emptyDir": {"sizeLimit": "564Mi"}}]
    assert spec["containers"][0]["volumeMounts"] == [{"name": "answers", "mountPath": "/tmp"}]
    assert (env["TIERLINE_STATE_DIR"], env["TIERLINE_STORED_MEBIBYTES"]) == ("answers", "400")


def test_a_claim_is_mounted_and_never_wanted_by_two_pods():
    strategy, spec, env = pod_of(StoredAnswers(AnswersIn.CLAIM, 400, "kept"))
    assert strategy == "Recreate"
    assert spec["volumes"] == [{"name": "answers", "persistentVolumeClaim": {"claimName": "kept"}}]
    assert spec["securityContext"]["fsGroup"] == 65532, "the image's user must be able to write"
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert env["TIERLINE_STATE_DIR"] == mount["mountPath"]


def test_a_store_needs_no_volume():
    strategy, spec, env = pod_of(StoredAnswers(AnswersIn.STORE, 400))
    assert strategy == "RollingUpdate"
    assert "volumes" not in spec
    assert "TIERLINE_STATE_DIR" not in env
    assert env["TIERLINE_STORED_MEBIBYTES"] == "400"


def test_who_keeps_nothing_has_no_directory():
    _, spec, env = pod_of(StoredAnswers(AnswersIn.NOWHERE))
    assert "volumes" not in spec
    assert "TIERLINE_STATE_DIR" not in env


@pytest.mark.parametrize(
    ("gateway", "answers", "reason"),
    [
        ({}, StoredAnswers(), ("False", "OnPodOnly")),
        ({"processes": 4}, StoredAnswers(), ("False", "OnPodOnly")),
        ({"replicas": 2}, StoredAnswers(AnswersIn.NOWHERE), ("False", "NotKept")),
        (
            {"replicas": 3, "stateStore": {"url": "redis://redis:6379/0"}},
            StoredAnswers(AnswersIn.STORE),
            ("True", "InStore"),
        ),
        (
            {"storedAnswers": {"claimName": "kept", "maxMebibytes": 64}},
            StoredAnswers(AnswersIn.CLAIM, 64, "kept"),
            ("True", "OnClaim"),
        ),
    ],
)
def test_the_place_follows_from_the_spec_and_the_fleet_says_what_it_is_worth(gateway, answers, reason):
    made = wanted_fleet(declared_fleet(gateway=gateway), ())
    assert made.answers == answers
    verdict = answers_verdict(made.answers)
    assert (verdict.status, verdict.reason) == reason
    assert verdict in fleet_verdicts(fleet(made))


def test_what_is_not_durable_names_the_field_that_changes_it():
    for place in (AnswersIn.SCRATCH, AnswersIn.NOWHERE):
        assert "spec.gateway.storedAnswers.claimName" in answers_verdict(StoredAnswers(place)).message
