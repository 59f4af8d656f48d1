"""What a fleet writes, and above all what it does not."""

from dataclasses import replace

import pytest
from fleet_builders import FLEET, Applied, fleet, wanted, wanted_pool

from tierline.fleet.fleet_plan import ChildKey, ScalePool, plan_fleet
from tierline.fleet.fleet_status import fleet_verdicts
from tierline.fleet.wanted import SharedStore


def running(seen):
    """The fleet once its plan is carried out."""
    return Applied(seen).after(plan_fleet(seen)).seen


def verdict(seen, kind):
    return next(it for it in fleet_verdicts(seen) if it.type == kind)


def test_a_new_fleet_gets_its_pools_and_its_gateway():
    plan = plan_fleet(fleet())
    assert plan.applies[0]["spec"] == {"fleetRef": "chat", "role": "Unified", "model": {"source": "/models/tiny"}}
    kinds = [it["kind"] for it in plan.applies]
    assert kinds == ["WorkerPool", "ServiceAccount", "Role", "RoleBinding", "Service", "Deployment"]


@pytest.mark.parametrize("scales", [True, False])
def test_first_replicas_are_written_once_and_never_applied(scales):
    plan = plan_fleet(fleet(wanted(scales=scales)))
    assert all("replicas" not in it["spec"] for it in plan.applies if it["kind"] == "WorkerPool")
    assert plan.scales == (ScalePool("chat-main", 2),)
    unscaled = Applied(fleet(wanted(scales=scales))).after(replace(plan, scales=())).seen
    assert plan_fleet(unscaled).scales == plan.scales, "an operator that died in between is made up for"


def test_a_pool_that_starts_with_nothing_is_given_its_zero():
    seen = fleet(wanted(wanted_pool(low=0)))
    assert plan_fleet(seen).scales == (ScalePool("chat-main", 0),)
    assert plan_fleet(running(seen)).scales == ()


def test_a_pool_on_its_way_out_is_not_scaled():
    seen = running(fleet())
    key = ChildKey("WorkerPool", "chat-main")
    leaving = {**seen.children[key], "metadata": {**seen.children[key]["metadata"], "deletionTimestamp": "now"}}
    assert plan_fleet(replace(seen, children={**seen.children, key: leaving})).scales == ()


def test_a_fleet_as_wanted_is_left_alone():
    assert plan_fleet(running(fleet())).is_empty


def test_replicas_outside_the_bounds_are_brought_back():
    low, high = wanted(wanted_pool(low=3, high=4)), wanted(wanted_pool(low=0, high=1))
    assert plan_fleet(replace(running(fleet()), wanted=low)).scales == (ScalePool("chat-main", 3),)
    assert plan_fleet(replace(running(fleet()), wanted=high)).scales == (ScalePool("chat-main", 1),)


def test_replicas_of_an_external_autoscaler_are_not_touched():
    seen = replace(running(fleet()), wanted=wanted(wanted_pool(low=3), scales=False))
    assert plan_fleet(seen).scales == ()


def test_a_pool_that_left_the_spec_is_deleted_by_its_uid():
    seen = replace(running(fleet(wanted(wanted_pool(), wanted_pool("chat-big")))), wanted=wanted())
    assert [(it.name, it.uid) for it in plan_fleet(seen).deletes] == [("chat-big", "uid-of-WorkerPool-chat-big")]


def test_an_edited_child_is_applied_again_and_only_that_one():
    seen = running(fleet())
    key = ChildKey("Deployment", "chat-gateway")
    edited = {**seen.children[key], "spec": {**seen.children[key]["spec"], "replicas": 7}}
    plan = plan_fleet(replace(seen, children={**seen.children, key: edited}))
    assert [it["kind"] for it in plan.applies] == ["Deployment"]


def test_what_others_add_to_a_child_is_theirs():
    seen = running(fleet())
    key = ChildKey("Service", "chat-gateway")
    live = seen.children[key]
    grown = {**live, "metadata": {**live["metadata"], "annotations": {**live["metadata"]["annotations"], "mesh": "on"}}}
    grown["spec"] = {**live["spec"], "clusterIP": "10.0.0.1"}
    assert plan_fleet(replace(seen, children={**seen.children, key: grown})).is_empty


def test_an_invalid_spec_writes_nothing():
    seen = replace(running(fleet()), wanted=None, problems=("spec.pools must not be empty",))
    assert plan_fleet(seen).is_empty
    assert verdict(seen, "Accepted").message == "spec.pools must not be empty."


def test_nothing_is_started_while_a_tier_is_missing():
    seen = fleet(known_tiers=frozenset({"silver"}))
    assert plan_fleet(seen).is_empty
    told = verdict(seen, "TiersResolved")
    assert told.reason == "TierNotFound"
    assert told.message == (
        "spec.tierRefs[0] names the tier 'gold', which does not exist or is not valid: "
        "create or correct it, or name one that is in force (silver). "
        "Nothing is started until then."
    )


def test_a_tier_that_goes_missing_leaves_pools_alone_and_the_rest_cared_for():
    seen = replace(running(fleet()), known_tiers=frozenset(), wanted=wanted(wanted_pool(accelerator="other")))
    assert plan_fleet(seen).is_empty
    key = ChildKey("Service", "chat-gateway")
    without_service = replace(seen, children={it: live for it, live in seen.children.items() if it != key})
    assert [it["kind"] for it in plan_fleet(without_service).applies] == ["Service"]
    assert "What runs keeps running." in verdict(seen, "TiersResolved").message


def test_another_ones_objects_are_not_taken_over():
    theirs = {
        "kind": "WorkerPool",
        "metadata": {
            "name": "chat-main",
            "uid": "u",
            "ownerReferences": [{"uid": "somebody-else", "controller": True}],
        },
        "spec": {},
    }
    seen = fleet(children={ChildKey("WorkerPool", "chat-main"): theirs})
    assert plan_fleet(seen).is_empty
    assert verdict(seen, "Accepted").reason == "NameTaken"
    assert "WorkerPool chat-main" in verdict(seen, "Accepted").message


def test_a_child_that_is_being_deleted_is_not_written_to():
    seen = running(fleet())
    key = ChildKey("WorkerPool", "chat-main")
    leaving = {**seen.children[key], "metadata": {**seen.children[key]["metadata"], "deletionTimestamp": "now"}}
    leaving["spec"] = {}
    assert plan_fleet(replace(seen, children={**seen.children, key: leaving})).is_empty


def test_a_fleet_that_is_being_deleted_makes_nothing():
    assert plan_fleet(fleet(fleet=replace(FLEET, deleting=True))).is_empty


def test_gateways_may_read_the_tenants_keys_and_no_other_secret():
    roles = [it for it in plan_fleet(fleet(secret_names=("b", "a", "b"))).applies if it["kind"] == "Role"]
    secrets = [rule for rule in roles[0]["rules"] if "secrets" in rule["resources"]]
    assert secrets == [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"], "verbs": ["get"]}]


def test_without_tenants_no_secret_can_be_read():
    roles = [it for it in plan_fleet(fleet()).applies if it["kind"] == "Role"]
    assert all("secrets" not in rule["resources"] for rule in roles[0]["rules"])


def test_gateways_are_told_of_the_store_and_the_operator_reads_no_password():
    store = SharedStore("redis://redis:6379/0", ("redis", "password"))
    plan = plan_fleet(replace(fleet(), wanted=wanted(wanted_pool(), state_store=store, gateway_processes=4)))
    (deployment,) = (it for it in plan.applies if it["kind"] == "Deployment")
    env = {entry["name"]: entry for entry in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["TIERLINE_GATEWAY_PROCESSES"]["value"] == "4"
    assert env["TIERLINE_STATE_STORE_URL"]["value"] == "redis://redis:6379/0"
    reference = {"secretKeyRef": {"name": "redis", "key": "password"}}
    assert env["TIERLINE_STATE_STORE_PASSWORD"] == {"name": "TIERLINE_STATE_STORE_PASSWORD", "valueFrom": reference}
    (role,) = (it for it in plan.applies if it["kind"] == "Role")
    assert "redis" not in str(role)
