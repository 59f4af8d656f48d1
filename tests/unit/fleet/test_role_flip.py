"""Which workers change their pool in place."""

from dataclasses import replace

from fleet_builders import pod, worker
from hypothesis import given
from hypothesis import strategies as st

from tierline.fleet.scaling.role_flip import FlippingPool, RoleMove, flipping_workers

PREFILL, DECODE = worker(role="Prefill"), worker(role="Decode")
MOVE = RoleMove("chat-decode", "chat-prefill", 1)


def giver(*pods, **seen):
    return FlippingPool(**{"worker": DECODE, "revision": "new", "staying": pods, **seen})


TAKER = FlippingPool(PREFILL, "other")


def names(pods):
    return [it.name.rpartition("-")[2] for it in pods]


def test_the_idlest_worker_goes_and_of_idle_ones_the_youngest():
    three = giver(pod(1), pod(2), pod(3))
    assert names(flipping_workers(MOVE, three, TAKER, {})) == ["3"]
    busy = {"chat-main-3": 2.0, "chat-main-2": 1.0}
    assert names(flipping_workers(MOVE, three, TAKER, busy)) == ["1"]
    assert names(flipping_workers(replace(MOVE, workers=2), three, TAKER, busy)) == ["1", "2"]


def test_workers_whose_process_would_be_another_one_are_replaced_instead():
    for other in ({"gpus": 2}, {"environment": {"TIERLINE_BLOCK_TOKENS": "32"}}, {"drain_seconds": 99}):
        assert flipping_workers(MOVE, giver(pod(1)), replace(TAKER, worker=worker(role="Prefill", **other)), {}) == ()


def test_nobody_goes_while_a_change_is_rolled_out_nor_a_worker_of_an_old_revision_or_one_that_is_not_ready():
    assert flipping_workers(MOVE, giver(pod(1), settled=False), TAKER, {}) == ()
    assert flipping_workers(MOVE, giver(pod(1)), replace(TAKER, settled=False), {}) == ()
    assert flipping_workers(MOVE, giver(pod(1, revision="old"), pod(2, ready=False)), TAKER, {}) == ()


def test_a_move_is_no_larger_than_what_the_pools_change_by():
    assert RoleMove("a", "b", 3).within(2, 5).workers == 2
    assert RoleMove("a", "b", 3).within(5, -1).workers == 0


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["new", "old"]), st.floats(0, 9)), max_size=8),
    st.integers(0, 9),
)
def test_only_ready_workers_of_the_revision_move_and_never_more_than_asked(seen, workers):
    pods = [pod(index, ready=ready, revision=revision) for index, (ready, revision, _) in enumerate(seen)]
    running = {it.name: load for it, (_, _, load) in zip(pods, seen, strict=True)}
    moved = flipping_workers(replace(MOVE, workers=workers), giver(*pods), TAKER, running)
    able = [it for it in pods if it.ready and it.revision == "new"]
    assert len(moved) == min(workers, len(able))
    assert set(moved) <= set(able)
    left = [running[it.name] for it in able if it not in moved]
    assert not (moved and left) or max(running[it.name] for it in moved) <= min(left)
