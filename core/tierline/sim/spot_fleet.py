"""A pool of workers on made-up spot capacity, placed by the shipped planners: what it costs and how much of it serves.

Each tick nodes vanish as the trace says, announced some ticks before; waiting workers get a node where there is one,
and the pool's plan is carried out. Nobody knows what a zone would give before a worker has asked there; one that has
none says so a tick later. On-demand capacity is always there.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tierline.fleet.observed import ObjectIdentity, ObservedPod
from tierline.fleet.placement.market import Market, Slot, Supply
from tierline.fleet.placement.planner import Offer, PlacedPod, PlacementTerms, PlacementView, place
from tierline.fleet.placement.spot_history import SpotHistory
from tierline.fleet.pool_plan import PoolObservation, plan_pool
from tierline.sim.spot_trace import SpotTrace

_POOL = ObjectIdentity("WorkerPool", "sim", "pool", "pool")


@dataclass(frozen=True, slots=True)
class SpotRun:
    """What came of it: shares of all-on-demand's cost and of the declared replicas, workers lost, and launches."""

    cost: float
    capacity: float
    reclaimed: int
    launches: int


@dataclass(frozen=True, slots=True)
class SpotTimes:
    """How long a worker starts on its node, and how long before its end a node says so, in ticks."""

    cold_start: int = 3
    notice: int = 2


@dataclass(frozen=True, slots=True)
class _Worker:
    attempt: int
    slot: Slot
    asked_tick: int
    started_tick: int | None = None
    doom_tick: int | None = None


@dataclass(slots=True)
class _Tally:
    cents: float = 0.0
    serving: float = 0.0
    reclaimed: int = 0
    attempts: int = 0
    workers: list[_Worker] = field(default_factory=list)


def run_pool(
    trace: SpotTrace,
    terms: PlacementTerms,
    cents: Mapping[Supply, int],
    *,
    zones: tuple[str, ...] | None = None,
    times: SpotTimes = SpotTimes(),
) -> SpotRun:
    """Run a pool over the whole trace; `zones` are the ones it may use (all of them when None)."""
    markets = [Market(zone) for zone in (zones or tuple(trace.nodes))]
    stand_in = cents[Supply.ON_DEMAND]
    offers = tuple(
        Offer(supply, market, cents[supply], stand_in_cents=stand_in) for market in markets for supply in Supply
    )
    simulation = _PoolSimulation(trace, terms, offers, times)
    for tick in range(trace.ticks):
        simulation.step(tick)
    tally, replicas = simulation.tally, terms.hedge.replicas
    all_on_demand = stand_in * replicas * trace.ticks
    return SpotRun(
        tally.cents / all_on_demand, tally.serving / (replicas * trace.ticks), tally.reclaimed, tally.attempts
    )


class _PoolSimulation:
    def __init__(self, trace: SpotTrace, terms: PlacementTerms, offers: tuple[Offer, ...], times: SpotTimes) -> None:
        self._trace = trace
        self._terms = terms
        self._offers = offers
        self._times = times
        self._quiet = False
        self._serving = 0
        self._rate = 0
        self._markets = tuple(offer.market for offer in offers if offer.supply is Supply.SPOT)
        self._history = SpotHistory()
        self.tally = _Tally()

    def step(self, tick: int) -> None:
        """Let one tick pass: losses, starts, the plan, and what all of that costs."""
        if not self._quiet or self._capacity_changes(tick):
            self._lose(tick)
            self._start(tick)
            self._carry_out(tick)
            self._start(tick)
            workers = self.tally.workers
            self._serving = sum(self._is_ready(worker, tick) for worker in workers)
            self._rate = sum(self._price(worker.slot) for worker in workers if worker.started_tick is not None)
            self._quiet &= self._serving == len(workers) and all(worker.doom_tick is None for worker in workers)
        self.tally.serving += min(self._serving, self._terms.hedge.replicas)
        self.tally.cents += self._rate

    def _capacity_changes(self, tick: int) -> bool:
        ahead = min(tick + self._times.notice, self._trace.ticks - 1)
        return any(nodes[ahead] != nodes[max(ahead - 1, 0)] for nodes in self._trace.nodes.values())

    def _price(self, slot: Slot) -> int:
        supply = slot.supply or Supply.ON_DEMAND
        return next(offer.cents_per_hour for offer in self._offers if offer.supply is supply)

    def _nodes(self, market: Market, tick: int) -> int:
        return int(self._trace.nodes[market.zone][tick])

    def _spot_workers(self, market: Market) -> list[_Worker]:
        mine = [it for it in self.tally.workers if it.slot.supply is Supply.SPOT and it.slot.market == market]
        return [worker for worker in mine if worker.started_tick is not None]

    def _lose(self, tick: int) -> None:
        """Take away the nodes that are gone, announce those that will be."""
        losses: Counter[Market] = Counter()
        for market in self._markets:
            running = self._spot_workers(market)
            gone = [it for it in running if it.doom_tick is not None and it.doom_tick <= tick]
            gone += [it for it in running if it not in gone][
                : max(len(running) - len(gone) - self._nodes(market, tick), 0)
            ]
            self.tally.workers = [worker for worker in self.tally.workers if worker not in gone]
            losses[market] = self._announce(market, tick) + sum(it.doom_tick is None for it in gone)
            if losses[market]:
                self._history = self._history.reclaimed(market, self._markets)
        nodes = {market: len(self._spot_workers(market)) for market in self._markets}
        self._history = self._history.observed((tick + 1) * self._trace.tick_ms, nodes, losses)
        self.tally.reclaimed += losses.total()

    def _announce(self, market: Market, tick: int) -> int:
        end = min(tick + self._times.notice, self._trace.ticks - 1)
        staying = [it for it in self._spot_workers(market) if it.doom_tick is None]
        doomed = staying[: max(len(staying) - self._nodes(market, end), 0)]
        self.tally.workers = [replace(it, doom_tick=end) if it in doomed else it for it in self.tally.workers]
        return len(doomed)

    def _start(self, tick: int) -> None:
        """Give nodes to workers that wait."""
        for index, worker in enumerate(self.tally.workers):
            if worker.started_tick is not None:
                continue
            market, spot = worker.slot.market, worker.slot.supply is Supply.SPOT
            if not spot or len(self._spot_workers(market)) < self._nodes(market, tick):
                self.tally.workers[index] = replace(worker, started_tick=tick)
                self._history = self._history.succeeded(market) if spot else self._history
            else:
                self._blame(worker, tick)

    def _blame(self, worker: _Worker, tick: int) -> None:
        market, now_ms = worker.slot.market, tick * self._trace.tick_ms
        if self._waited_ms(worker, tick) and self._history.is_trusted(market, now_ms):
            self._history = self._history.failed(market, self._markets, now_ms)

    def _carry_out(self, tick: int) -> None:
        now_ms = tick * self._trace.tick_ms
        staying = [worker for worker in self.tally.workers if worker.doom_tick is None]
        pods = [self._placed(worker, tick) for worker in staying]
        placement = place(self._terms, pods, PlacementView(self._offers, self._history, now_ms=now_ms))
        plan = plan_pool(
            PoolObservation(
                _POOL,
                now_ms=now_ms,
                replicas=self._terms.hedge.replicas,
                last_attempt=self.tally.attempts,
                revision="r",
                pods=tuple(self._observed(worker, tick) for worker in staying),
                placement=placement,
            )
        )
        gone = {removal.uid for removal in plan.removals}
        self.tally.workers = [worker for worker in self.tally.workers if str(worker.attempt) not in gone]
        made = enumerate(plan.attempts)
        self.tally.workers += [_Worker(attempt, placement.slot_of(index), tick) for index, attempt in made]
        self.tally.attempts = plan.last_attempt
        self._quiet = plan.is_empty

    def _placed(self, worker: _Worker, tick: int) -> PlacedPod:
        slot, uid = worker.slot, str(worker.attempt)
        waited_ms = 0 if worker.started_tick is not None else self._waited_ms(worker, tick)
        return PlacedPod(uid, slot.supply, slot.market, self._is_ready(worker, tick), waited_ms)

    def _observed(self, worker: _Worker, tick: int) -> ObservedPod:
        created_ms = worker.asked_tick * self._trace.tick_ms
        ready = self._is_ready(worker, tick)
        return ObservedPod(f"pool-{worker.attempt}", str(worker.attempt), worker.attempt, "r", created_ms, ready=ready)

    def _waited_ms(self, worker: _Worker, tick: int) -> int:
        return (tick - worker.asked_tick) * self._trace.tick_ms

    def _is_ready(self, worker: _Worker, tick: int) -> bool:
        return worker.started_tick is not None and tick - worker.started_tick >= self._times.cold_start
