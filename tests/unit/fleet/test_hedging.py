"""The table of SpotHedge: N = 4 replicas, one spare spot worker."""

import pytest

from tierline.fleet.placement.hedging import Hedge, Lanes, SpotSeen, lanes_of
from tierline.fleet.wanted import Capacity

PREFER = Hedge(Capacity.PREFER_SPOT, replicas=4, extra=1)


@pytest.mark.parametrize(
    ("spot_ready", "on_demand"),
    [(0, 4), (1, 4), (2, 3), (3, 2), (4, 1), (5, 0), (6, 0)],
)
def test_on_demand_workers_stand_in_for_the_spot_ones_that_are_not_ready(spot_ready, on_demand):
    assert lanes_of(PREFER, SpotSeen(ready=spot_ready)) == Lanes(5, on_demand)


def test_a_lost_spare_needs_no_stand_in_while_spot_comes_by_itself():
    assert lanes_of(PREFER, SpotSeen(ready=4, coming=1)) == Lanes(5, 0)
    assert lanes_of(PREFER, SpotSeen(ready=4, coming=0)) == Lanes(5, 1)


def test_a_stand_in_that_is_there_stays_until_the_spare_is_ready():
    assert lanes_of(PREFER, SpotSeen(ready=4, coming=1, on_demand=3)) == Lanes(5, 1)
    assert lanes_of(PREFER, SpotSeen(ready=5, on_demand=1)) == Lanes(5, 0)


def test_replicas_are_stood_in_for_whatever_is_coming():
    assert lanes_of(PREFER, SpotSeen(ready=2, coming=3)) == Lanes(5, 2)


def test_the_floor_always_runs_on_demand_and_only_the_rest_is_hedged():
    hedge = Hedge(Capacity.PREFER_SPOT, replicas=4, extra=1, floor=2)
    assert lanes_of(hedge, SpotSeen(ready=3, on_demand=2)) == Lanes(3, 2)
    assert lanes_of(hedge, SpotSeen(ready=0)) == Lanes(3, 4)
    assert lanes_of(Hedge(Capacity.PREFER_SPOT, 2, extra=1, floor=5), SpotSeen()) == Lanes(0, 2)


def test_where_nobody_offers_spot_all_run_on_demand():
    assert lanes_of(PREFER, SpotSeen(offered=False)) == Lanes(0, 4)


def test_a_pool_of_one_kind_has_no_stand_ins():
    assert lanes_of(Hedge(Capacity.SPOT, 4, extra=1), SpotSeen()) == Lanes(5, 0)
    assert lanes_of(Hedge(Capacity.ON_DEMAND, 4), SpotSeen()) == Lanes(0, 4)


def test_a_pool_of_none_needs_no_spare_either():
    assert lanes_of(Hedge(Capacity.PREFER_SPOT, 0, extra=2, floor=1), SpotSeen()) == Lanes(0, 0)
