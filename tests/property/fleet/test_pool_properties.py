"""What holds for every pool, whatever has happened to its pods and nodes."""

from dataclasses import replace

from fleet_builders import NOW, carried_out, node, pod, pool, settled
from hypothesis import given
from hypothesis import strategies as st

from tierline.fleet.census import take_census
from tierline.fleet.pool_plan import plan_pool

NODES = (
    node("node-a"),
    node("node-b"),
    node("node-down", ready=False),
    node("node-doomed", taints={"tierline.dev/spot-notice": str((NOW + 60_000) // 1000)}),
)


@st.composite
def pods(draw, attempt):
    phase = draw(st.sampled_from(["Pending", "Running", "Running", "Running", "Failed", "Succeeded"]))
    age_ms = draw(st.sampled_from([0, 5_000, 20_000, 3_600_000]))
    return pod(
        attempt,
        phase=phase,
        ready=phase == "Running" and draw(st.booleans()),
        revision=draw(st.sampled_from(["new", "new", "old"])),
        terminating=draw(st.sampled_from([False, False, False, True])),
        node=draw(st.sampled_from(["", *(it.name for it in NODES), "node-gone"])),
        created_ms=NOW - age_ms,
        scheduled_ms=NOW - age_ms,
        finished_ms=NOW if phase in {"Failed", "Succeeded"} else None,
        evacuate_by_ms=draw(st.sampled_from([None, NOW + 1])),
    )


@st.composite
def pools(draw):
    attempts = draw(st.lists(st.integers(1, 30), unique=True, max_size=8))
    members = tuple(draw(pods(attempt)) for attempt in attempts)
    recorded = max([0, *attempts]) + draw(st.integers(0, 3))
    return pool(*members, replicas=draw(st.integers(0, 6)), nodes=NODES, last_attempt=recorded)


@given(pools())
def test_a_plan_carried_out_leaves_nothing_to_do(seen):
    seen = replace(seen, now_ms=NOW + 30_000)
    end, _ = settled(seen)
    census = take_census(end.pods, end.nodes, end.now_ms)
    assert len(census.staying) == seen.replicas
    assert {it.revision for it in census.staying} <= {"new"}


@given(pools())
def test_names_are_never_used_twice(seen):
    used = {it.attempt for it in seen.pods} | set(range(1, seen.last_attempt + 1))
    _, plans = settled(replace(seen, now_ms=NOW + 30_000))
    for plan in plans:
        assert used.isdisjoint(plan.attempts)
        assert plan.last_attempt >= max([0, *used])
        used |= set(plan.attempts)


@given(pools())
def test_there_is_never_more_than_one_worker_too_many_because_of_a_plan(seen):
    plan = plan_pool(seen)
    before = take_census(seen.pods, seen.nodes, seen.now_ms)
    after = take_census(carried_out(seen, plan).pods, seen.nodes, seen.now_ms)
    assert len(after.staying) <= max(seen.replicas + 1, len(before.staying))


@given(pools())
def test_a_plan_never_takes_ready_workers_below_what_is_wanted(seen):
    plan = plan_pool(seen)
    gone = {it.uid for it in plan.removals}
    census = take_census(seen.pods, seen.nodes, seen.now_ms)
    ready = [it for it in census.serving if it.uid not in gone]
    assert len(ready) >= min(len(census.serving), seen.replicas)


@given(pools())
def test_a_ready_worker_on_a_doomed_node_is_kept_until_the_others_carry_the_load(seen):
    plan = plan_pool(seen)
    census = take_census(seen.pods, seen.nodes, seen.now_ms)
    doomed = {it.pod.uid for it in census.doomed if it.pod.ready}
    assert doomed.isdisjoint(it.uid for it in plan.removals), "the deadline is a minute away"


@given(pools())
def test_every_pod_is_in_exactly_one_group(seen):
    census = take_census(seen.pods, seen.nodes, seen.now_ms)
    groups = (
        census.staying,
        [it.pod for it in census.doomed],
        census.unreachable,
        census.orphaned,
        census.finished,
        census.cooling,
        census.leaving,
    )
    assert sorted(it.name for group in groups for it in group) == sorted(it.name for it in seen.pods)
