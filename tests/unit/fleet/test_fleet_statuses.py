"""What fleets and pools say about themselves."""

from dataclasses import replace

import pytest
from fleet_builders import FLEET, NOW, Applied, fleet, node, pod, pool, wanted, wanted_pool

from tierline.fleet.fleet_plan import ChildKey, plan_fleet
from tierline.fleet.fleet_status import fleet_status, fleet_verdicts
from tierline.fleet.pool_status import pool_status, pool_verdicts
from tierline.fleet.verdicts import Verdict, conditions_of, notices_of


def reasons(verdicts):
    return {it.type: (it.status, it.reason) for it in verdicts}


def pool_says(seen, *problems):
    return reasons(pool_verdicts(seen, problems))


def with_status(seen, kind, name, **status):
    key = ChildKey(kind, name)
    return replace(seen, children={**seen.children, key: {**seen.children[key], "status": status}})


def running_fleet(ready=2, reason="Settled", available="WorkersReady", message=""):
    seen = fleet()
    seen = Applied(seen).after(plan_fleet(seen)).seen
    conditions = [
        {"type": "Available", "status": "True", "reason": available, "message": message},
        {"type": "Progressing", "status": str(reason != "Settled"), "reason": reason, "message": message},
    ]
    seen = with_status(seen, "WorkerPool", "chat-main", readyReplicas=ready, conditions=conditions)
    return with_status(seen, "Deployment", "chat-gateway", readyReplicas=1)


def test_a_pool_with_all_its_workers_is_ready():
    assert pool_says(pool(pod(1), pod(2)))["Ready"] == ("True", "WorkersReady")


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (pool(pod(1), pod(2, ready=False)), "Scaling"),
        (pool(pod(1), pod(2), pod(3, revision="old")), "Updating"),
        (pool(pod(1), pod(2), pod(3), nodes=(node(taints={"karpenter.sh/disrupted": ""}),)), "Evacuating"),
        (pool(pod(1, ready=False), pod(2, ready=False)), "WorkersStarting"),
        (pool(pod(1, ready=False, failure="exited with code 1: no such file")), "WorkersFailing"),
    ],
)
def test_a_pool_says_what_it_is_waiting_for(seen, reason):
    assert pool_says(seen)["Ready"] == ("False", reason)


def test_a_pool_of_no_workers_is_as_wanted():
    assert pool_says(pool(replicas=0))["Ready"] == ("True", "ScaledToZero")


def test_a_pool_with_a_wrong_spec_names_the_field():
    assert pool_says(pool(pod(1), pod(2), revision=None), "spec.engine.threads must be at least 1")["Ready"] == (
        "False",
        "InvalidSpec",
    )


def test_the_status_of_a_pool_counts_what_serves():
    seen = pool(
        pod(1), pod(2, ready=False), pod(3, terminating=True), pod(4, phase="Failed", ready=False, finished_ms=0)
    )
    status = pool_status(seen, pool_verdicts(seen, ()), 4)
    assert (status["replicas"], status["readyReplicas"], status["lastAttempt"]) == (2, 1, 4)


def test_a_fleet_with_all_it_needs_is_ready():
    said = reasons(fleet_verdicts(running_fleet()))
    assert said["Ready"] == ("True", "AsWanted")
    assert said["Available"] == ("True", "Serving")


def test_a_fleet_sums_its_pools_up():
    status = fleet_status(running_fleet(), (), NOW)
    assert status["pools"] == [{"name": "main", "replicas": 2, "readyReplicas": 2}]
    assert (status["replicas"], status["readyReplicas"], status["gateway"]) == (2, 2, {"readyReplicas": 1})


def test_a_fleet_whose_workers_fail_says_why():
    seen = running_fleet(0, "Scaling", "WorkersFailing", "No worker is ready: worker chat-main-1: no such file")
    available = next(it for it in fleet_verdicts(seen) if it.type == "Available")
    assert available.message == "Pool chat-main: No worker is ready: worker chat-main-1: no such file"


def scaled(seen, name, replicas, ready):
    key = ChildKey("WorkerPool", name)
    live = {**seen.children[key], "spec": {**seen.children[key]["spec"], "replicas": replicas}}
    reason = "WorkersReady" if ready else "ScaledToZero"
    conditions = [
        {"type": "Available", "status": "True", "reason": reason, "message": ""},
        {"type": "Progressing", "status": "False", "reason": "Settled", "message": ""},
    ]
    seen = replace(seen, children={**seen.children, key: live})
    return with_status(seen, "WorkerPool", name, readyReplicas=ready, conditions=conditions)


@pytest.mark.parametrize(
    ("main", "spare", "available", "ready"),
    [
        ((2, 2), (0, 0), ("True", "Serving"), ("True", "AsWanted")),
        ((2, 0), (0, 0), ("False", "WorkersStarting"), ("False", "WorkersStarting")),
        ((0, 0), (0, 0), ("False", "ScaledToZero"), ("False", "ScaledToZero")),
    ],
)
def test_a_pool_that_wants_no_workers_takes_nothing_from_the_others(main, spare, available, ready):
    seen = fleet(wanted(wanted_pool("chat-main", low=0), wanted_pool("chat-spare", low=0)))
    seen = with_status(Applied(seen).after(plan_fleet(seen)).seen, "Deployment", "chat-gateway", readyReplicas=1)
    said = reasons(fleet_verdicts(scaled(scaled(seen, "chat-main", *main), "chat-spare", *spare)))
    assert (said["Available"], said["Ready"]) == (available, ready)


def test_a_write_that_the_server_refused_is_told():
    said = fleet_verdicts(running_fleet(), refusal="The API server refused a write: spec.role is immutable")
    assert reasons(said)["Ready"] == ("False", "WriteRefused")


def test_a_condition_keeps_its_time_until_its_status_flips():
    before = {
        "type": "Ready",
        "status": "True",
        "reason": "A",
        "message": "",
        "lastTransitionTime": "2020-01-01T00:00:00Z",
    }
    owner = replace(FLEET, conditions=(before,), generation=3)
    [kept] = conditions_of(owner, [Verdict("Ready", True, "B", "now for another reason")], NOW)
    assert (kept["lastTransitionTime"], kept["reason"], kept["observedGeneration"]) == ("2020-01-01T00:00:00Z", "B", 3)
    [flipped] = conditions_of(owner, [Verdict("Ready", False, "C", "")], NOW)
    assert flipped["lastTransitionTime"] == "1970-01-12T13:46:40Z"


def test_an_event_tells_of_a_change_and_only_once():
    wrong = Verdict("TiersResolved", False, "TierNotFound", "no tier")
    assert [it.type for it in notices_of(FLEET, [wrong])] == ["Warning"]
    told = replace(FLEET, conditions=tuple(conditions_of(FLEET, [wrong], NOW)))
    assert notices_of(told, [wrong]) == ()
    assert [it.type for it in notices_of(told, [replace(wrong, holds=True, reason="AllFound")])] == ["Normal"]


def test_what_is_right_from_the_start_is_no_news():
    assert notices_of(FLEET, [Verdict("Accepted", True, "Valid", "")]) == ()
