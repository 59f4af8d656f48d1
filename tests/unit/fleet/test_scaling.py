from itertools import pairwise

import pytest
from loads import SHAPE, Following, pool, tier, worker

from tierline.fleet.scaling.capacity import highest_rate
from tierline.fleet.scaling.forecast import Trend
from tierline.fleet.scaling.load import FleetLoad
from tierline.fleet.scaling.planner import ScalingMemory, ScalingPolicy, plan_scaling

ONE = highest_rate(worker(), SHAPE, 50.0)
"""Requests a second that one worker carries at 50 ms a token."""

HOUR = 3600


def test_the_need_is_the_rate_over_what_one_worker_carries_at_the_set_point():
    assert Following().settle(per_second=4 * ONE * 0.75) == 4
    assert Following().settle(per_second=4.5 * ONE * 0.75) == 5


def test_a_rising_load_is_met_before_it_is_there():
    following, blind = Following(), Following(policy=ScalingPolicy(forecasts=False))
    for step in range(19):
        rate = ONE * (1 + 0.2 * step)
        ahead, behind = following.look(per_second=rate), blind.look(per_second=rate)
    assert ahead.decisions[0].replicas > behind.decisions[0].replicas


def test_what_waits_needs_workers_too_but_doubles_the_need_at_most():
    calm = Following().look(per_second=2 * ONE)
    queued = Following().look(per_second=2 * ONE, queued=60 * ONE)
    flooded = Following().look(per_second=2 * ONE, queued=10_000)
    assert calm.decisions[0].need < queued.decisions[0].need < flooded.decisions[0].need
    assert flooded.decisions[0].need == pytest.approx(2 * calm.decisions[0].need, abs=1)


def test_clients_that_are_late_are_right_when_the_model_is_not():
    following = Following(pool(replicas=4))
    sizes = [following.look(per_second=2 * ONE, ttft_pressure=1.5).decisions[0] for _ in range(8)]
    assert sizes[-1].replicas > 4
    assert "TargetsMissed" in {it.reason for it in sizes}


def test_kv_that_is_nearly_full_asks_for_more_workers_before_clients_are_late():
    full, half = Following(pool(replicas=4, kv_used=0.99)), Following(pool(replicas=4, kv_used=0.5))
    assert full.settle(looks=12, per_second=2 * ONE, ttft_pressure=0.5) > 4
    assert half.settle(looks=12, per_second=2 * ONE, ttft_pressure=0.5) == 4


def test_late_clients_of_an_idle_fleet_are_not_helped_by_more_workers():
    assert Following(pool(replicas=4)).settle(looks=10, per_second=0.2 * ONE, ttft_pressure=2.0) <= 4


def test_while_workers_start_and_for_a_minute_after_latencies_speak_of_fewer_workers():
    following = Following(pool(replicas=4, ready=3))
    for _ in range(10):
        assert following.look(per_second=2.5 * ONE, ttft_pressure=2.0).decisions[0].replicas == 4


def test_fewer_only_after_they_have_sufficed_for_the_whole_window():
    following = Following(pool(replicas=8), policy=ScalingPolicy(stabilization_ms=300_000))
    following.look(per_second=6 * ONE)
    sizes = [following.look(seconds=20, per_second=ONE).decisions[0].replicas for _ in range(25)]
    assert sizes[:13] == [8] * 13
    assert sizes[-1] == 2


def test_who_has_just_begun_to_look_waits_as_long():
    following = Following(pool(replicas=8), policy=ScalingPolicy(stabilization_ms=300_000))
    sizes = [following.look(seconds=20, per_second=ONE).decisions[0].replicas for _ in range(25)]
    assert sizes[:15] == [8] * 15
    assert sizes[-1] == 2


def test_replicas_that_somebody_else_raised_stay_for_a_window():
    following = Following(pool(replicas=2), policy=ScalingPolicy(stabilization_ms=300_000))
    following.settle(per_second=ONE)
    following.pools = (pool(replicas=5),)
    sizes = [following.look(seconds=20, per_second=ONE).decisions[0].replicas for _ in range(20)]
    assert sizes[:15] == [5] * 15
    assert sizes[-1] == 2


def test_a_worker_that_is_pending_keeps_nobody_from_going():
    following = Following(pool(replicas=6, ready=3))
    assert following.settle(per_second=ONE, ttft_pressure=0.95) == 2


def test_fewer_workers_must_keep_the_targets_as_the_model_says_latencies_grow():
    calm = Following(pool(replicas=3)).settle(per_second=1.5 * ONE, tpot_pressure=0.2)
    near = Following(pool(replicas=3)).settle(per_second=1.5 * ONE, tpot_pressure=0.8)
    assert (calm, near) == (2, 3)


def test_latency_that_workers_do_not_change_keeps_none_of_them():
    """A prompt that takes most of its target alone (dynamo's two replicas for ever)."""
    assert Following(pool(replicas=3)).settle(per_second=0.02 * ONE, ttft_pressure=0.95) == 1


def test_without_a_model_nothing_moves_but_by_what_clients_feel():
    unknown = pool(replicas=3, worker=None)
    assert Following(unknown).settle(per_second=100.0, ttft_pressure=0.5) == 3
    assert Following(unknown).settle(looks=3, per_second=100.0, ttft_pressure=1.9) > 3


def test_bounds_hold_whatever_is_needed():
    assert Following(pool(replicas=2, low=2, high=3)).settle(per_second=100 * ONE) == 3
    assert Following(pool(replicas=2, low=2, high=3)).settle(per_second=0.1) == 2
    assert Following(pool(replicas=9, low=2, high=3)).look(per_second=ONE).decisions[0].replicas == 3


def test_an_idle_pool_with_minimum_zero_goes_and_a_request_that_waits_brings_it_back_at_once():
    following = Following(pool(replicas=2, low=0), policy=ScalingPolicy(idle_ms=600_000))
    following.look(per_second=ONE)
    sizes = [following.look(seconds=30).decisions[0].replicas for _ in range(22)]
    assert sizes[18] >= 1
    assert sizes[-1] == 0
    woken = following.look(queued=1).decisions[0]
    assert (woken.replicas, woken.reason) == (1, "Woken")


def test_a_pool_with_minimum_one_never_goes():
    assert Following(pool(replicas=2, low=1)).settle(looks=100) == 1


def test_the_direction_changes_twice_an_hour_at_most():
    following = Following(policy=ScalingPolicy(stabilization_ms=0))
    rates = [ONE * (6 if look % 10 < 5 else 1) for look in range(int(4 * HOUR / 60))]
    sizes = [following.look(seconds=60, per_second=rate).decisions[0].replicas for rate in rates]
    changes = [(index, after - before) for index, (before, after) in enumerate(pairwise(sizes)) if after != before]
    turns = [index for (_, one), (index, other) in pairwise(changes) if (one > 0) != (other > 0)]
    assert turns
    assert all(sum(start <= it < start + 60 for it in turns) <= 2 for start in turns)


def phases(prefill: int, decode: int) -> tuple:
    return (
        pool(name="prefill", replicas=prefill, worker=worker("Prefill")),
        pool(name="decode", replicas=decode, worker=worker("Decode")),
    )


def test_prefill_and_decode_are_sized_each_for_itself():
    following = Following(*phases(1, 1))
    following.settle(per_second=100.0)
    sizes = {it.name: it.replicas for it in following.pools}
    assert sizes["prefill"] > sizes["decode"] > 1


def test_a_worker_that_decode_can_spare_becomes_a_prefill_worker_at_once():
    following = Following(*phases(1, 4))
    plan = following.look(per_second=56.0)
    sizes = {it.name: (it.before, it.replicas, it.reason) for it in plan.decisions}
    assert plan.flips == 1
    assert sizes["prefill"][:2] == (1, 2)
    assert sizes["decode"] == (4, 3, "RoleFlip")


def test_pools_of_one_role_fill_up_in_their_order():
    first, second = pool(name="a", high=2), pool(name="b", high=10)
    load = FleetLoad((tier(4 * ONE * 0.75),), (first, second))
    plan, _ = plan_scaling(ScalingPolicy(), ScalingMemory(), load, 1)
    assert [it.need for it in plan.decisions] == [4, 2]


def test_a_trend_foresees_rises_beyond_chance_and_no_falls():
    trend = Trend()
    for step in range(30):
        trend = trend.observed(10.0 + step, 1 + step * 10_000)
    assert trend.ahead(60) > trend.level
    assert trend.ahead(10_000) == pytest.approx(2 * trend.level)
    for step in range(30, 60):
        trend = trend.observed(70.0 - step, 1 + step * 10_000)
    assert trend.ahead(60) == trend.level
