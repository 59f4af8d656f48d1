"""Made-up spot capacity: how many nodes each zone would give at each tick.

A zone is a Markov chain of two states, with capacity and without, as the public traces of spot nodes look from afar
(skypilot-org/spot-traces: 0.1 to 0.5 drops an hour, capacity 40 to 90 % of the time). While it has capacity, single
nodes come and go, and now and then a shock takes all of them at once. Everything follows from the seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ZoneBehaviour:
    """One zone: share of time with capacity, how often it ends, how often one node or (a shock) all are taken."""

    nodes: int = 4
    availability: float = 0.8
    drops_per_hour: float = 0.2
    node_losses_per_hour: float = 0.1
    shocks_per_hour: float = 0.02
    shock_hours: float = 0.5


@dataclass(frozen=True, slots=True)
class SpotTrace:
    """Nodes that each zone would give, tick by tick."""

    tick_ms: int
    nodes: Mapping[str, NDArray[np.int64]]

    @property
    def ticks(self) -> int:
        return len(next(iter(self.nodes.values())))


def make_trace(zones: Mapping[str, ZoneBehaviour], hours: float, tick_ms: int, seed: int) -> SpotTrace:
    """Return `hours` of capacity in each zone."""
    ticks = round(hours * 3_600_000 / tick_ms)
    streams = np.random.default_rng(seed).spawn(len(zones))
    drawn = zip(zones.items(), streams, strict=True)
    return SpotTrace(tick_ms, {name: _zone(zone, ticks, tick_ms / 3_600_000, rng) for (name, zone), rng in drawn})


def _zone(zone: ZoneBehaviour, ticks: int, tick_hours: float, rng: np.random.Generator) -> NDArray[np.int64]:
    mean_up = 1 / zone.drops_per_hour
    mean_down = mean_up * (1 - zone.availability) / zone.availability
    up = bool(rng.random() < zone.availability)
    given, shock_left = zone.nodes, 0.0
    nodes = np.zeros(ticks, np.int64)
    for tick in range(ticks):
        if rng.random() < tick_hours / (mean_up if up else mean_down):
            up, given = not up, zone.nodes
        if rng.random() < zone.shocks_per_hour * tick_hours:
            shock_left = zone.shock_hours
        if rng.random() < zone.node_losses_per_hour * tick_hours:
            given = max(given - 1, 0)
        elif given < zone.nodes and rng.random() < tick_hours:
            given += 1
        nodes[tick] = given if up and shock_left <= 0 else 0
        shock_left -= tick_hours
    return nodes
