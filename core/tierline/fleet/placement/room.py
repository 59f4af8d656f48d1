"""What the cluster has room for: nodes by market, what is free on them, and how many more workers of a pool fit.

    room(supply, market) = sum over its good nodes of min over resources of floor(free / asked)

Free is what a node can give less what Tierline's own pods ask of it. Other pods are not seen (watching every pod of a
cluster costs more than it tells): where they take what looked free, the worker waits and placement moves it on.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from tierline.fleet.placement.market import Market, Supply
from tierline.fleet.placement.planner import Offer, PlacementTerms
from tierline.fleet.placement.prices import PriceTable

UNLIMITED = 1_000
SLOWEST = 1e-6


@dataclass(frozen=True, slots=True)
class Need:
    """What something asks of a node, or a node can give: accelerators, CPU in thousandths, memory in bytes."""

    gpus: int = 0
    cpu_milli: int = 0
    memory_bytes: int = 0

    def __add__(self, other: "Need") -> "Need":
        return Need(self.gpus + other.gpus, self.cpu_milli + other.cpu_milli, self.memory_bytes + other.memory_bytes)

    def __sub__(self, other: "Need") -> "Need":
        return Need(self.gpus - other.gpus, self.cpu_milli - other.cpu_milli, self.memory_bytes - other.memory_bytes)

    def times(self, room: "Need") -> int:
        """Return how many such things fit into `room`."""
        asked = ((self.gpus, room.gpus), (self.cpu_milli, room.cpu_milli), (self.memory_bytes, room.memory_bytes))
        return max(min((free // wanted for wanted, free in asked if wanted), default=UNLIMITED), 0)


@dataclass(frozen=True, slots=True)
class NodeRoom:
    """A node that takes pods: where it belongs, what it has, and what is free; `pods` are our workers on it by uid."""

    name: str
    supply: Supply
    market: Market
    total: Need
    free: Need
    pods: Mapping[str, Need] = field(default_factory=dict)


def offers_of(
    nodes: Iterable[NodeRoom],
    prices: PriceTable,
    need: Need,
    terms: PlacementTerms,
    speeds: Mapping[str, float],
    *,
    warm_nodes: Collection[str] = (),
) -> tuple[Offer, ...]:
    """Return what the cluster and the price table offer to a pool whose workers ask for `need`.

    `speeds` is what an accelerator delivers relative to others, 1 where nothing is known; `warm_nodes` have the
    weights. Where there are no nodes, a market that the table names is an offer too: an autoscaler may bring them.
    """
    room: dict[tuple[Supply, Market], int] = {}
    warm_room: dict[tuple[Supply, Market], int] = {}
    for node in nodes:
        key, fitting = (node.supply, node.market), need.times(node.free)
        room[key] = room.get(key, 0) + fitting
        if node.name in warm_nodes:
            warm_room[key] = warm_room.get(key, 0) + fitting
    for supply in Supply:
        for market in prices.markets(supply):
            room.setdefault((supply, market), 0)
    wanted = [key for key in room if not terms.accelerators or key[1].accelerator in terms.accelerators]
    units = max(need.gpus, 1)
    return tuple(
        Offer(
            supply,
            market,
            cents_per_hour=units * prices.cents_per_hour(supply, market),
            room=room[supply, market],
            speed=max(speeds.get(market.accelerator, 1.0), SLOWEST),
            stand_in_cents=units * prices.cents_per_hour(Supply.ON_DEMAND, market),
            warm_room=warm_room.get((supply, market), 0),
        )
        for supply, market in wanted
    )


def cents_per_hour(nodes: Iterable[NodeRoom], prices: PriceTable) -> dict[str, int]:
    """Return what each worker costs an hour, by uid and the node that it runs on."""
    return {
        uid: each * max(need.gpus, 1)
        for node in nodes
        for each in (prices.cents_per_hour(node.supply, node.market),)
        for uid, need in node.pods.items()
    }
