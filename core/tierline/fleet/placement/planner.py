"""Where the workers of a pool run: supply, zone and accelerator of each, and which workers are in the wrong place.

1. `hedging` says how many workers run on spot capacity and how many on demand.
2. A worker that waits for capacity is in the wrong place once its market is no longer Active and another one is, or
   when it has waited longer than the patience for its market.
3. Of a kind that has too many, those go first that are not ready, then those in the zone with most workers, then the
   dearest, then the youngest.
4. A new worker goes to the best offer: Active markets before Preempted ones, those with room before full ones, then
   (unless spread is ignored) zones with the fewest workers of the pool, then the lowest cost, then those with room
   where the model's weights are, then by name.

    cost = (cents + interruptions_per_hour * RESTART_HOURS * stand_in_cents) / speed

`speed` is what one accelerator of that kind delivers, relative to the others (tokens in time, from the latency model),
so the order is by cost of a token; with `acceleratorChoice: Order` the declared order of accelerators comes before
cost. With spread `Required` the zone with the fewest workers comes before everything: zones differ by one at most.

Inputs: what the pool declares, its workers, offers, history. Bounds: no market gets more workers than it has room for
while another one has room. Plans name zone, supply and accelerator, never a node: kube-scheduler binds. When not to use
it: a pool without a spot policy and with one accelerator at most leaves everything to kube-scheduler.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tierline.fleet.placement.hedging import Hedge, Lanes, SpotSeen, lanes_of
from tierline.fleet.placement.market import ANYWHERE, Market, Slot, Supply
from tierline.fleet.placement.spot_history import SpotHistory
from tierline.fleet.wanted import Capacity, ZoneSpread

RESTART_HOURS = 0.25
"""What an interruption costs in time of a stand-in: its cold start, and the work that is done again."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A market's supply as a pool sees it. `room` is how many more of its workers fit on the nodes that are there, and
    `warm_room` on those of them that have the model's weights."""

    supply: Supply
    market: Market
    cents_per_hour: int = 0
    room: int = 0
    speed: float = 1.0
    stand_in_cents: int = 0
    warm_room: int = 0


@dataclass(frozen=True, slots=True)
class PlacedPod:
    """A worker that counts toward the pool. `waiting_ms` is how long it has been without a node, 0 once it has one."""

    uid: str
    supply: Supply | None
    market: Market
    ready: bool = True
    waiting_ms: int = 0
    age_ms: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class PlacementTerms:
    """What a pool declares about places; `accelerators` in order of preference, none means any."""

    hedge: Hedge
    spread: ZoneSpread = ZoneSpread.PREFERRED
    accelerators: tuple[str, ...] = ()
    by_order: bool = False

    @property
    def is_free(self) -> bool:
        """Whether kube-scheduler decides alone."""
        return self.hedge.capacity is Capacity.ANY and len(self.accelerators) < 2


@dataclass(frozen=True, slots=True)
class PlacementView:
    """What is known of the cluster: offers to this pool, the history of spot, and a node that is being emptied."""

    offers: tuple[Offer, ...] = ()
    history: SpotHistory = field(default_factory=SpotHistory)
    emptying: str = ""
    now_ms: int = 0


@dataclass(frozen=True, slots=True)
class PoolPlacement:
    """How many workers the pool holds, where the missing ones go, and which are in the wrong place.

    `misplaced` workers are to be replaced, also those of one supply that are too many while the other has too few;
    those in `surplus` go first when there are too many. `spare` is where a worker goes that replaces one which stays
    until then. `warm_hosts` are nodes that new workers should rather go to.
    """

    lanes: Lanes
    launches: tuple[Slot, ...] = ()
    misplaced: frozenset[str] = frozenset()
    surplus: frozenset[str] = frozenset()
    spare: Slot = ANYWHERE
    warm_hosts: frozenset[str] = frozenset()

    def slot_of(self, index: int) -> Slot:
        """Return where the pool's next worker but `index` goes."""
        return self.launches[index] if index < len(self.launches) else self.spare


def place(terms: PlacementTerms, pods: Sequence[PlacedPod], view: PlacementView) -> PoolPlacement:
    """Return where the pool's workers should be."""
    if terms.is_free:
        return _left_to_the_scheduler(terms, pods, view)
    offers = tuple(offer for offer in view.offers if _suits(terms, offer))
    chooser = _Chooser(terms, view, offers, pods)
    lanes = lanes_of(terms.hedge, chooser.spot_seen(terms.hedge))
    wanted: dict[Supply | None, int] = {Supply.SPOT: lanes.spot, Supply.ON_DEMAND: lanes.on_demand}
    if terms.hedge.capacity is Capacity.ANY:
        wanted = {None: lanes.total}
    kept = {supply: chooser.kept(supply) for supply in wanted}
    missing = [supply for supply, count in wanted.items() for _ in range(count - len(kept[supply]))]
    surplus = [pod.uid for supply, count in wanted.items() for pod in chooser.surplus(kept[supply], count)]
    misplaced = {uid for supply in wanted for uid in chooser.misplaced(supply)}
    return PoolPlacement(
        lanes,
        launches=tuple(chooser.take(supply) for supply in missing),
        misplaced=frozenset(misplaced | set(surplus[: len(missing)])),
        surplus=frozenset(surplus[len(missing) :]),
        spare=chooser.take(max(wanted, key=lambda supply: wanted[supply])),
    )


def _left_to_the_scheduler(terms: PlacementTerms, pods: Sequence[PlacedPod], view: PlacementView) -> PoolPlacement:
    slot = Slot(avoid_node=view.emptying)
    replicas = max(terms.hedge.replicas, 0)
    missing = max(replicas - len(pods), 0)
    leaving = frozenset(pod.uid for pod in pods if view.emptying and pod.node == view.emptying)
    return PoolPlacement(Lanes(0, replicas), (slot,) * missing, leaving, spare=slot)


def _suits(terms: PlacementTerms, offer: Offer) -> bool:
    return not terms.accelerators or offer.market.accelerator in terms.accelerators


class _Chooser:
    """Picks offers one after the other, counting what it has given away."""

    def __init__(
        self, terms: PlacementTerms, view: PlacementView, offers: tuple[Offer, ...], pods: Sequence[PlacedPod]
    ) -> None:
        self._terms = terms
        self._view = view
        self._offers = offers
        self._pods = pods
        spot = (offer.market for offer in offers if offer.supply is Supply.SPOT)
        self._active = view.history.active(spot, view.now_ms)
        self._room = {(offer.supply, offer.market): offer.room for offer in offers}
        self._used = Counter((pod.supply, pod.market.zone) for pod in pods)

    def spot_seen(self, hedge: Hedge) -> SpotSeen:
        """Return what spot does for the pool now."""
        mine = [pod for pod in self._pods if pod.supply is Supply.SPOT]
        ready = sum(pod.ready for pod in mine)
        starting = [pod for pod in mine if not pod.ready and not pod.waiting_ms]
        hopeful = [pod for pod in mine if pod.waiting_ms and pod.market in self._active]
        launching = max(hedge.replicas + hedge.extra - len(mine), 0) if self._active else 0
        on_demand = sum(pod.supply is Supply.ON_DEMAND for pod in self._pods)
        offered = bool(mine) or any(offer.supply is Supply.SPOT for offer in self._offers)
        return SpotSeen(offered, ready, len(starting) + len(hopeful) + launching, on_demand)

    def take(self, supply: Supply | None) -> Slot:
        """Return the best place for one more worker of a supply (None: of either)."""
        open_to = [offer for offer in self._offers if supply in {None, offer.supply}]
        if not open_to:
            preferred = self._terms.accelerators[0] if len(self._terms.accelerators) == 1 else ""
            return Slot(supply, Market("", preferred), self._view.emptying)
        best = min(open_to, key=self._rank)
        self._room[best.supply, best.market] -= 1
        self._used[best.supply, best.market.zone] += 1
        market = Market("" if self._is_any_zone(best, open_to) else best.market.zone, best.market.accelerator)
        return Slot(supply, market, self._view.emptying)

    def kept(self, supply: Supply | None) -> list[PlacedPod]:
        """Return the workers of a supply that are where they can get ready."""
        return [pod for pod in self._pods if supply in {None, pod.supply} and not self._is_stuck(pod, supply)]

    def misplaced(self, supply: Supply | None) -> set[str]:
        """Return the workers of a supply that are stuck, or on the node to be emptied."""
        kept = self.kept(supply)
        stuck = {pod.uid for pod in self._pods if supply in {None, pod.supply}} - {pod.uid for pod in kept}
        return stuck | {pod.uid for pod in kept if self._view.emptying and pod.node == self._view.emptying}

    def surplus(self, kept: Sequence[PlacedPod], count: int) -> Iterable[PlacedPod]:
        """Return the workers to give up so that `count` are left: one by one, so that zones stay level."""
        left = list(kept)
        while len(left) > count:
            crowd = Counter(pod.market.zone for pod in left)
            victim = min(left, key=lambda pod: (pod.ready, -crowd[pod.market.zone], -self._cost_of(pod), pod.age_ms))
            left.remove(victim)
            yield victim

    def _is_stuck(self, pod: PlacedPod, supply: Supply | None) -> bool:
        """Say whether a worker has waited too long where it is, and there is somewhere else to wait."""
        others = [it for it in self._offers if supply in {None, it.supply} and it.market != pod.market]
        if not (pod.market.zone and pod.waiting_ms and others):
            return False
        left_behind = pod.supply is Supply.SPOT and pod.market not in self._active and any(map(self._is_active, others))
        return left_behind or pod.waiting_ms > self._view.history.patience_ms(pod.market)

    def _is_active(self, offer: Offer) -> bool:
        return offer.supply is not Supply.SPOT or offer.market in self._active

    def _cost_of(self, pod: PlacedPod) -> float:
        mine = [offer for offer in self._offers if offer.market == pod.market and pod.supply in {None, offer.supply}]
        return self._cost(mine[0]) if mine else 0.0

    def _rank(self, offer: Offer) -> tuple[int, bool, bool, int, int, float, bool, Market]:
        used = self._used[offer.supply, offer.market.zone]
        strict = self._terms.spread is ZoneSpread.REQUIRED
        return (
            used if strict else 0,
            not self._is_active(offer),
            self._room[offer.supply, offer.market] <= 0,
            0 if self._terms.spread is ZoneSpread.IGNORED else used,
            self._order(offer),
            self._cost(offer),
            offer.warm_room <= offer.room - self._room[offer.supply, offer.market],
            offer.market,
        )

    def _order(self, offer: Offer) -> int:
        accelerators = self._terms.accelerators
        return accelerators.index(offer.market.accelerator) if self._terms.by_order and accelerators else 0

    def _cost(self, offer: Offer) -> float:
        risk = self._view.history.record(offer.market).interruptions_per_hour if offer.supply is Supply.SPOT else 0.0
        return (offer.cents_per_hour + risk * RESTART_HOURS * offer.stand_in_cents) / offer.speed

    def _is_any_zone(self, best: Offer, open_to: Sequence[Offer]) -> bool:
        """On demand, where zones cost the same, kube-scheduler knows more than we do about where there is room."""
        alike = [it for it in open_to if it.market.accelerator == best.market.accelerator]
        return best.supply is Supply.ON_DEMAND and all(it.cents_per_hour == best.cents_per_hour for it in alike)
