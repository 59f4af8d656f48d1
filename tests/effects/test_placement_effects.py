"""What hedged spot capacity costs and how much of a pool serves: SkyServe's comparison, on made-up traces.

Three zones with the availability of a public trace of 4-node capacity (capacity 38, 75 and 84 % of the time) and of its
length; nodes say two minutes before that they go, a worker starts in three; spot costs 0.3 of on-demand.
"""

from collections.abc import Callable

import numpy as np

from tierline.fleet.placement.hedging import Hedge
from tierline.fleet.placement.market import Supply
from tierline.fleet.placement.planner import PlacementTerms
from tierline.fleet.wanted import Capacity
from tierline.sim.spot_fleet import SpotRun, run_pool
from tierline.sim.spot_trace import ZoneBehaviour, make_trace

ZONES = {
    "a": ZoneBehaviour(availability=0.42, drops_per_hour=0.5, node_losses_per_hour=0.05),
    "b": ZoneBehaviour(availability=0.77, drops_per_hour=0.12, node_losses_per_hour=0.05),
    "c": ZoneBehaviour(availability=0.86, drops_per_hour=0.3, node_losses_per_hour=0.05),
}
CENTS = {Supply.SPOT: 30, Supply.ON_DEMAND: 100}
REPLICAS = 4
HOURS = 305
TICK_MS = 60_000
TRACES = [make_trace(ZONES, HOURS, TICK_MS, seed) for seed in (1, 2)]


def mean_of(run: Callable[[int], SpotRun]) -> tuple[float, float]:
    """Return the mean cost and capacity over the traces."""
    runs = [run(index) for index in range(len(TRACES))]
    return float(np.mean([it.cost for it in runs])), float(np.mean([it.capacity for it in runs]))


def hedged(capacity: Capacity, extra: int = 0, zones: tuple[str, ...] | None = None) -> tuple[float, float]:
    terms = PlacementTerms(Hedge(capacity, REPLICAS, extra))
    return mean_of(lambda index: run_pool(TRACES[index], terms, CENTS, zones=zones))


def test_a_hedged_pool_costs_less_than_half_and_serves_as_if_it_ran_on_demand(record_effect):
    (cost_alone, alone), (cost_spread, spread) = hedged(Capacity.SPOT, zones=("b",)), hedged(Capacity.SPOT)
    (cost_0, capacity_0), (cost_1, capacity_1) = hedged(Capacity.PREFER_SPOT), hedged(Capacity.PREFER_SPOT, extra=1)
    assert alone < spread < capacity_0 < capacity_1
    assert cost_alone < cost_spread < cost_0 < cost_1 < 1.0
    record_effect("E9_hedge_capacity", value=100 * capacity_1, threshold=99.5, unit="% of the replicas, one spare")
    record_effect("E9_hedge_cost", value=cost_1, threshold=0.45, unit="x on-demand, one spare", at_least=False)
    record_effect("E9_single_zone_capacity", value=100 * alone, threshold=90.0, unit="% spot alone", at_least=False)
    record_effect("E9_spread_capacity", value=100 * spread, threshold=98.0, unit="% spot, 3 zones", at_least=False)
    record_effect("E9_no_spare_cost", value=cost_0, threshold=0.4, unit="x on-demand, no spare", at_least=False)
    record_effect("E9_no_spare_capacity", value=100 * capacity_0, threshold=99.0, unit="% of the replicas, no spare")
