"""The rules by which workers come and go, one sentence a test."""

from dataclasses import replace

import pytest
from fleet_builders import NOW, POOL, carried_out, node, pod, pool, removed, settled

from tierline.fleet.census import COOLING_MS, NODE_SIGHT_MS
from tierline.fleet.pool_plan import EVACUATION_MARGIN_MS, Evacuation, plan_pool


def doomed_node(deadline_ms, name="node-a"):
    return node(name, taints={"tierline.dev/spot-notice": str(deadline_ms // 1000)})


def test_as_many_workers_are_made_as_are_missing():
    plan = plan_pool(pool(pod(1), replicas=3))
    assert plan.attempts == (2, 3)
    assert plan.last_attempt == 3


def test_a_pool_as_wanted_is_left_alone():
    assert plan_pool(pool(pod(1), pod(2))).is_empty


def test_a_recorded_attempt_is_never_used_again_even_when_its_pod_never_was():
    assert plan_pool(pool(replicas=1, last_attempt=7)).attempts == (8,)


def test_a_lost_record_is_made_up_from_the_pods():
    assert plan_pool(pool(pod(5), replicas=2, last_attempt=0)).attempts == (6,)


@pytest.mark.parametrize(
    ("why", "gone"),
    [
        ("it is being deleted", {"terminating": True}),
        ("it has failed", {"phase": "Failed", "ready": False, "finished_ms": NOW - 60_000}),
        ("it has ended", {"phase": "Succeeded", "ready": False, "finished_ms": NOW - 60_000}),
        ("its node is gone", {"node": "node-z"}),
        ("its node does not answer", {"node": "node-b"}),
    ],
)
def test_a_worker_counts_as_absent_when(why, gone):
    seen = pool(pod(1), pod(2, **gone), nodes=(node(), node("node-b", ready=False)))
    assert plan_pool(seen).attempts == (3,), why


def test_a_worker_on_a_node_that_is_not_seen_yet_is_given_a_moment():
    fresh = pod(2, node="node-new", scheduled_ms=NOW - NODE_SIGHT_MS + 1000)
    plan = plan_pool(pool(pod(1), fresh))
    assert plan.is_empty
    assert plan.wake_at_ms == NOW + 1001


def test_workers_that_have_ended_are_cleaned_and_those_of_lost_nodes_need_nobodys_leave():
    ended = pod(2, phase="Failed", ready=False, finished_ms=NOW - 60_000)
    plan = plan_pool(pool(pod(1), ended, pod(3, node="node-z", terminating=True), pod(4)))
    assert [(it.name, it.lost_node) for it in plan.removals] == [("chat-main-2", ""), ("chat-main-3", "node-z")]


def test_a_worker_on_a_node_that_does_not_answer_is_not_deleted_it_may_come_back():
    seen = pool(pod(1), pod(2, node="node-b"), pod(3), nodes=(node(), node("node-b", ready=False)))
    assert plan_pool(seen).is_empty


def test_a_worker_that_dies_young_is_replaced_after_a_pause():
    dead = pod(2, phase="Failed", ready=False, created_ms=NOW - 2000, finished_ms=NOW - 1000)
    plan = plan_pool(pool(pod(1), dead))
    assert plan.is_empty
    assert plan.wake_at_ms == NOW - 1000 + COOLING_MS
    later = plan_pool(replace(pool(pod(1), dead), now_ms=plan.wake_at_ms))
    assert later.attempts == (3,)
    assert removed(later) == ["2"]


@pytest.mark.parametrize(
    ("first_to_go", "pods"),
    [
        ("one that is not ready", (pod(1, ready=False), pod(2), pod(3))),
        ("the youngest of the ready ones", (pod(2), pod(3), pod(1, created_ms=NOW))),
        ("one of an old revision", (pod(1, revision="old"), pod(2), pod(3))),
    ],
)
def test_scaling_down_gives_up_first(first_to_go, pods):
    assert removed(plan_pool(pool(*pods, replicas=2))) == ["1"], first_to_go


def test_scaling_to_zero_gives_up_all():
    assert sorted(removed(plan_pool(pool(pod(1), pod(2), replicas=0)))) == ["1", "2"]


def test_a_change_makes_one_worker_too_many_first():
    plan = plan_pool(pool(pod(1, revision="old"), pod(2, revision="old")))
    assert plan.attempts == (3,)
    assert plan.removals == ()


def test_an_old_worker_waits_for_its_successor_to_be_ready():
    rolling = (pod(1, revision="old"), pod(2, revision="old"))
    assert plan_pool(pool(*rolling, pod(3, ready=False))).is_empty
    assert removed(plan_pool(pool(*rolling, pod(3)))) == ["2"]


def test_old_workers_that_are_not_ready_are_replaced_at_once():
    broken = tuple(pod(attempt, revision="old", ready=False) for attempt in (1, 2, 3))
    plan = plan_pool(pool(*broken, replicas=3))
    assert plan.attempts == (4, 5, 6)
    assert removed(plan) == ["1", "2", "3"]


def test_of_workers_that_start_those_without_a_node_go_first():
    placed = pod(2, ready=False)
    assert removed(plan_pool(pool(pod(1, ready=False, node=""), placed, replicas=1))) == ["1"]


def test_a_change_that_never_gets_ready_leaves_the_old_workers_serving():
    seen = pool(pod(1, revision="old"), pod(2, revision="old"))
    for _ in range(5):
        seen = carried_out(seen, plan_pool(seen), ready=False)
    assert [it.attempt for it in seen.pods if it.ready] == [1, 2]
    assert len(seen.pods) == 3


def test_a_whole_rollout_never_has_less_than_wanted_ready_or_more_than_one_too_many():
    seen = pool(*(pod(attempt, revision="old") for attempt in range(1, 5)), replicas=4)
    _, plans = settled(seen)
    for plan in plans:
        seen = carried_out(seen, plan)
        assert 4 <= len(seen.pods) <= 5
        assert sum(it.ready for it in seen.pods) >= 4
    assert {it.revision for it in seen.pods} == {"new"}


def test_a_worker_on_a_doomed_node_is_told_and_replaced_while_it_still_serves():
    deadline = NOW + 60_000
    plan = plan_pool(pool(pod(1), pod(2, node="node-b"), nodes=(node(), doomed_node(deadline, "node-b"))))
    assert plan.evacuations == (Evacuation("chat-main-2", "uid-2", deadline),)
    assert plan.attempts == (3,)
    assert plan.removals == ()
    assert plan.wake_at_ms == deadline - EVACUATION_MARGIN_MS


def test_a_notice_long_before_counts_when_a_replacement_must_start_and_not_sooner():
    deadline = NOW + 3_600_000
    nodes = (node(), doomed_node(deadline, "node-b"))
    seen = replace(pool(pod(1), pod(2, node="node-b"), nodes=nodes), start_ms=90_000)
    must_start = deadline - EVACUATION_MARGIN_MS - 2 * 90_000
    early = plan_pool(seen)
    assert early.is_empty, "the worker serves on and gateways are told nothing yet"
    assert early.wake_at_ms == must_start
    assert plan_pool(replace(seen, now_ms=must_start - 1)).is_empty
    due = plan_pool(replace(seen, now_ms=must_start))
    assert (due.attempts, due.evacuations) == ((3,), (Evacuation("chat-main-2", "uid-2", deadline),))
    assert plan_pool(replace(seen, start_ms=None)).attempts == (3,), "nobody knows how long a start takes"


def test_a_notice_that_was_told_is_not_taken_back_by_a_start_that_became_faster():
    deadline = NOW + 150_000
    told = pod(2, node="node-b", evacuate_by_ms=deadline)
    seen = replace(pool(pod(1), told, nodes=(node(), doomed_node(deadline, "node-b"))), start_ms=1_000)
    plan = plan_pool(seen)
    assert (plan.attempts, plan.evacuations) == ((3,), ())


def test_a_notice_without_a_deadline_of_its_own_counts_at_once_however_fast_a_start_is():
    tainted = node("node-b", taints={"aws-node-termination-handler/spot-itn": ""})
    seen = replace(pool(pod(1), pod(2, node="node-b"), nodes=(node(), tainted)), start_ms=1_000)
    plan = plan_pool(seen)
    assert (plan.attempts, plan.evacuations) == ((3,), (Evacuation("chat-main-2", "uid-2", NOW + 120_000),))


def test_it_leaves_shortly_before_the_deadline_when_its_replacement_is_ready():
    deadline = NOW + EVACUATION_MARGIN_MS
    doomed = pod(2, node="node-b", evacuate_by_ms=deadline)
    nodes = (node(), doomed_node(deadline, "node-b"))
    assert removed(plan_pool(pool(pod(1), doomed, pod(3), nodes=nodes))) == ["2"]
    assert plan_pool(pool(pod(1), doomed, pod(3, ready=False), nodes=nodes)).is_empty
    assert plan_pool(replace(pool(pod(1), doomed, pod(3), nodes=nodes), now_ms=NOW - 1)).is_empty


def test_a_worker_that_is_not_ready_has_nothing_to_wait_for_on_a_doomed_node():
    seen = pool(pod(1, ready=False), nodes=(doomed_node(NOW + 60_000), node("node-b")), replicas=1)
    assert removed(plan_pool(seen)) == ["1"]


def test_a_notice_taken_back_is_taken_back_from_the_worker():
    plan = plan_pool(pool(pod(1), pod(2, evacuate_by_ms=NOW + 5)))
    assert plan.evacuations == (Evacuation("chat-main-2", "uid-2", None),)


def test_without_a_usable_spec_nothing_is_made_and_nothing_stopped():
    seen = pool(pod(1), pod(2, phase="Failed", ready=False, finished_ms=0), replicas=3, revision=None)
    plan = plan_pool(seen)
    assert plan.attempts == ()
    assert removed(plan) == ["2"]


def test_a_pool_that_is_being_deleted_is_left_to_the_garbage_collector():
    assert plan_pool(pool(replicas=3, pool=replace(POOL, deleting=True))).is_empty
