"""What holds for every fleet, whatever it asks for and whatever is there already."""

from dataclasses import replace

from fleet_builders import Applied, fleet, wanted, wanted_pool
from hypothesis import given
from hypothesis import strategies as st

from tierline.fleet.drift import has_drifted, stamped
from tierline.fleet.fleet_plan import ChildKey, plan_fleet

POOL_NAMES = ("chat-main", "chat-big", "chat-spare")


@st.composite
def fleets_wanted(draw):
    names = draw(st.lists(st.sampled_from(POOL_NAMES), unique=True, min_size=1))
    pools = []
    for name in names:
        low = draw(st.integers(0, 5))
        drain = draw(st.integers(0, 60))
        pools.append(wanted_pool(name, low, low + draw(st.integers(0, 5)) or 1, drainSeconds=drain))
    return wanted(*pools, gateway_replicas=draw(st.integers(1, 3)), scales=draw(st.booleans()))


def carried_out(seen):
    return Applied(seen).after(plan_fleet(seen)).seen


@given(fleets_wanted(), fleets_wanted())
def test_a_plan_carried_out_leaves_nothing_to_do(before, after):
    seen = carried_out(fleet(before))
    assert plan_fleet(seen).is_empty
    changed = carried_out(replace(seen, wanted=after))
    assert plan_fleet(changed).is_empty
    assert set(changed.pools) == {pool.name for pool in after.pools}


@given(fleets_wanted(), st.integers(0, 20))
def test_replicas_of_others_within_the_bounds_are_kept(fleet_wanted, replicas):
    seen = carried_out(fleet(fleet_wanted))
    key = ChildKey("WorkerPool", fleet_wanted.pools[0].name)
    scaled = {**seen.children[key], "spec": {**seen.children[key]["spec"], "replicas": replicas}}
    end = carried_out(replace(seen, children={**seen.children, key: scaled}))
    kept = end.children[key]["spec"]["replicas"]
    assert kept == (fleet_wanted.pools[0].bounded(replicas) if fleet_wanted.scales else replicas)


@given(fleets_wanted(), st.data())
def test_any_field_of_a_child_that_is_changed_or_lost_is_restored(fleet_wanted, data):
    seen = carried_out(fleet(fleet_wanted))
    key = data.draw(st.sampled_from(sorted(seen.children, key=str)))
    broken = _broken(seen.children[key], data)
    assert has_drifted(broken, stamped_again(seen.children[key]))
    end = carried_out(replace(seen, children={**seen.children, key: broken}))
    assert plan_fleet(end).is_empty


@given(fleets_wanted(), fleets_wanted())
def test_nothing_that_runs_is_touched_while_a_tier_is_missing(before, after):
    seen = carried_out(fleet(before))
    plan = plan_fleet(replace(seen, wanted=after, known_tiers=frozenset()))
    held = {pool.name for pool in before.pools}
    assert not [it for it in plan.applies if it["kind"] == "WorkerPool" and it["metadata"]["name"] in held]


def stamped_again(live):
    annotations = {
        key: value for key, value in live["metadata"]["annotations"].items() if key != "tierline.dev/applied"
    }
    metadata = {key: value for key, value in live["metadata"].items() if key not in {"uid", "annotations"}}
    return stamped({**live, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}})


def _broken(live, data):
    """Change one leaf somewhere below a field that we own."""
    owned = sorted(key for key in live if key in {"rules", "roleRef", "subjects", "spec"}) or ["metadata"]
    field = data.draw(st.sampled_from(owned))
    if field == "metadata":
        return {**live, "metadata": {**live["metadata"], "labels": {}}}
    return {**live, field: _with_a_broken_leaf(live[field], data)}


def _with_a_broken_leaf(value, data):
    if isinstance(value, dict) and value:
        key = data.draw(st.sampled_from(sorted(set(value) - {"replicas"} or value)))
        return {**value, key: _with_a_broken_leaf(value[key], data)}
    if isinstance(value, list | tuple) and value:
        return [_with_a_broken_leaf(value[0], data), *value[1:]]
    return "broken"
