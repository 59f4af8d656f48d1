"""What the planning loop has found out, for the loops of fleets and pools to read. One leadership, one book."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tierline.fleet.observed import Manifest
from tierline.fleet.placement.planner import PlacementView
from tierline.fleet.placement.prices import PriceTable
from tierline.fleet.placement.room import NodeRoom
from tierline.fleet.placement.spot_history import SpotHistory
from tierline.fleet.placement.weights import NOWHERE, CachedModel, NodeWeights
from tierline.fleet.scaling.cold_starts import ColdStarts
from tierline.fleet.verdicts import Verdict

FleetKey = tuple[str, str]
"""Namespace and name of a fleet."""


@dataclass(frozen=True, slots=True)
class FleetReport:
    """What planning has to say about a fleet: its conditions, what its workers cost, where its model is."""

    verdicts: tuple[Verdict, ...] = ()
    cents_per_hour: int = 0
    weights: CachedModel = NOWHERE


@dataclass(slots=True)
class CapacityBook:
    """Written by the planning loop only; every field holds a value that is replaced as a whole.

    `rooms` are of the nodes that took workers at the last survey, `surveyed` all nodes as they were then, by name.
    `held` are pools (namespace, name) whose workers are on their way to another pool: their loops wait. `models` says
    where each model is, by source: `weights` the other way round.
    """

    rooms: tuple[NodeRoom, ...] = ()
    surveyed: Mapping[str, Manifest] = field(default_factory=dict)
    prices: PriceTable = field(default_factory=PriceTable)
    history: SpotHistory = field(default_factory=SpotHistory)
    emptying: str = ""
    held: frozenset[FleetKey] = frozenset()
    starts: ColdStarts = field(default_factory=ColdStarts)
    weights: NodeWeights = field(default_factory=NodeWeights)
    models: Mapping[str, CachedModel] = field(default_factory=dict)
    speeds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reports: Mapping[FleetKey, FleetReport] = field(default_factory=dict)

    def report(self, namespace: str, fleet: str) -> FleetReport | None:
        """Return what is known of a fleet, None before the first plan."""
        return self.reports.get((namespace, fleet))

    def cached(self, model: str) -> CachedModel:
        """Return which nodes have a model."""
        return self.models.get(model, NOWHERE)

    def speeds_of(self, model: str) -> Mapping[str, float]:
        """Return what each kind of accelerator delivers with a model, relative to others."""
        return self.speeds.get(model, {})

    def view(self, now_ms: int) -> PlacementView:
        """Return what placement sees beside a pool's own offers."""
        return PlacementView((), self.history, self.emptying, now_ms)
