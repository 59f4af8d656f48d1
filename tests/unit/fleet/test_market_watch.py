from placing import ON_DEMAND, SPOT, market, pod

from tierline.fleet.placement.market_watch import SpotSight, watch_markets
from tierline.fleet.placement.spot_history import SpotHistory

HOUR = 3_600_000
A, B, C = (market(zone) for zone in "abc")
NODES = {"n1": A, "n2": B, "n3": C}
QUIET = SpotSight(NODES)


def watched(before: SpotSight | None, now: SpotSight, *pods, history: SpotHistory | None = None) -> SpotHistory:
    return watch_markets(history or SpotHistory(), before, now, pods, HOUR)


def test_a_notice_that_was_not_there_before_is_a_loss_and_counts_once():
    doomed = SpotSight(NODES, doomed=frozenset({"n1"}))
    once = watched(QUIET, doomed)
    assert once.preempted == {A}
    assert once.records[A].interruptions == 1
    again = watched(doomed, doomed, history=once)
    assert again.records[A].interruptions == 1


def test_a_node_that_vanishes_with_workers_on_it_was_reclaimed_and_an_empty_one_given_back():
    left = SpotSight({"n2": B, "n3": C})
    assert watched(SpotSight(NODES, used=frozenset({"n1"})), left).preempted == {A}
    assert watched(QUIET, left).preempted == frozenset()


def test_who_has_just_begun_to_look_has_seen_no_loss():
    assert watched(None, SpotSight(NODES, doomed=frozenset({"n1"}))).preempted == frozenset()


def test_a_worker_that_waited_too_long_blames_its_market_once_and_a_ready_one_clears_it():
    late = pod("s1", SPOT, "a", ready=False, waiting_ms=121_000)
    blamed = watched(QUIET, QUIET, late)
    assert blamed.records[A].failures == 1
    assert watched(QUIET, QUIET, late, history=blamed).records[A].failures == 1
    cleared = watched(QUIET, QUIET, pod("s2", SPOT, "a"), history=blamed)
    assert cleared.records[A].failures == 0
    assert cleared.preempted == frozenset()


def test_waiting_on_demand_or_anywhere_blames_nobody():
    waiting = {"ready": False, "waiting_ms": 10**9}
    history = watched(QUIET, QUIET, pod("o", ON_DEMAND, "a", **waiting), pod("s", SPOT, "", **waiting))
    assert all(record.failures == 0 for record in history.records.values())
