import pytest

from tierline.fleet.drift import ANNOTATION_APPLIED, has_drifted, stamped


def deployment(**container):
    return {
        "kind": "Deployment",
        "metadata": {"name": "chat-gateway", "labels": {"app": "chat"}},
        "spec": {"template": {"spec": {"containers": [{"name": "gateway", "command": ["run"], **container}]}}},
    }


def test_a_missing_object_has_drifted():
    assert has_drifted(None, deployment())


def test_what_the_server_fills_in_is_no_drift():
    live = deployment(imagePullPolicy="Always")
    live["metadata"] |= {"uid": "u", "resourceVersion": "3"}
    assert not has_drifted(live, deployment())


@pytest.mark.parametrize("live", ["1", "1000m", "1.0", 1])
def test_quantities_are_compared_by_amount(live):
    assert not has_drifted(
        deployment(resources={"requests": {"cpu": live}}), deployment(resources={"requests": {"cpu": "1"}})
    )


@pytest.mark.parametrize(("live", "wanted"), [("1Gi", "1G"), ("2", "1"), ("one", "1")])
def test_other_amounts_are_drift(live, wanted):
    assert has_drifted(
        deployment(resources={"limits": {"memory": live}}), deployment(resources={"limits": {"memory": wanted}})
    )


def test_lists_that_are_merged_by_name_may_hold_more_and_in_any_order():
    wanted = deployment(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    live = deployment(env=[{"name": "C", "value": "3"}, {"name": "B", "value": "2"}, {"name": "A", "value": "1"}])
    assert not has_drifted(live, wanted)
    assert has_drifted(deployment(env=[{"name": "A", "value": "1"}]), wanted)


def test_other_lists_belong_to_us_as_a_whole():
    assert has_drifted(deployment(command=["run", "--debug"]), deployment())
    role = {"kind": "Role", "metadata": {"name": "r"}, "rules": [{"verbs": ["get"]}]}
    wider = {**role, "rules": [*role["rules"], {"verbs": ["*"]}]}
    assert has_drifted(wider, role)


def test_subjects_added_to_a_role_binding_are_drift():
    binding = {"kind": "RoleBinding", "metadata": {"name": "b"}, "subjects": [{"kind": "ServiceAccount", "name": "a"}]}
    assert has_drifted({**binding, "subjects": [*binding["subjects"], {"kind": "User", "name": "eve"}]}, binding)


def test_a_field_taken_out_of_the_manifest_is_seen_by_the_stamp():
    before, after = stamped(deployment(workingDir="/")), stamped(deployment())
    assert has_drifted(before, after)
    assert before["metadata"]["annotations"][ANNOTATION_APPLIED] != after["metadata"]["annotations"][ANNOTATION_APPLIED]
