"""Which workers of a fleet hold which LoRA adapters.

A worker holds at most `limit` adapters in host memory (its engine's maxAdapters) and copies them into the memory for
KV when a request asks (`tierline.scheduling.memory.adapters`). Adapters are placed in this order, each where there is
room and its rank fits:

1. Pinned ones on every worker, by name.
2. Every other one on one worker: where it is already, else where most room is.
3. Those in use on more workers, the one used last first, until the room or their own limit ends.

So what nobody has used for longest yields first, and an adapter that is where it belongs is never moved for balance.
An adapter whose source has changed is loaded again in place. What a pod brought along by itself is left alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WantedAdapter:
    """An adapter as declared; `max_workers` None is no limit."""

    name: str
    source: str
    rank: int
    pinned: bool = False
    max_workers: int | None = None


@dataclass(frozen=True, slots=True)
class HeldAdapter:
    """An adapter that a worker serves; `source` is empty for one that its pod brought along."""

    name: str
    source: str
    resident: bool = False
    in_use: bool = False


@dataclass(frozen=True, slots=True)
class AdapterWorker:
    """A ready worker: how many adapters of which rank it takes, and those it has."""

    name: str
    limit: int
    max_rank: int
    held: tuple[HeldAdapter, ...] = ()

    def holds(self, adapter: WantedAdapter) -> bool:
        return any((it.name, it.source) == (adapter.name, adapter.source) for it in self.held)


@dataclass(frozen=True, slots=True)
class AdapterLoading:
    """Give a worker an adapter; `replace` when it has another one of that name."""

    worker: str
    adapter: WantedAdapter
    replace: bool


@dataclass(frozen=True, slots=True)
class AdapterUnloading:
    """Take an adapter from a worker; its running requests end with it."""

    worker: str
    name: str


@dataclass(frozen=True, slots=True)
class AdapterPlan:
    """What to do, unloading first. `unplaced` says why an adapter is nowhere."""

    unloadings: tuple[AdapterUnloading, ...] = ()
    loadings: tuple[AdapterLoading, ...] = ()
    unplaced: Mapping[str, str] = field(default_factory=dict)

    @property
    def workers(self) -> frozenset[str]:
        """The workers that have something to do."""
        return frozenset((*(it.worker for it in self.unloadings), *(it.worker for it in self.loadings)))


class _Places:
    """Adapters by worker as they are to be."""

    def __init__(self, workers: Iterable[AdapterWorker]) -> None:
        self.workers = tuple(sorted(workers, key=lambda it: it.name))
        self.of = {worker.name: set[str]() for worker in self.workers}
        self._own = {worker.name: sum(not it.source for it in worker.held) for worker in self.workers}

    def room(self, worker: AdapterWorker) -> int:
        return worker.limit - self._own[worker.name] - len(self.of[worker.name])

    def candidates(self, adapter: WantedAdapter) -> list[AdapterWorker]:
        """Workers that could take it now, best first."""
        able = [
            worker
            for worker in self.workers
            if adapter.rank <= worker.max_rank and self.room(worker) > 0 and adapter.name not in self.of[worker.name]
        ]
        return sorted(able, key=lambda worker: (not worker.holds(adapter), -self.room(worker), worker.name))

    def count(self, adapter: WantedAdapter) -> int:
        return sum(adapter.name in names for names in self.of.values())


def plan_adapters(
    wanted: Iterable[WantedAdapter], workers: Iterable[AdapterWorker], last_used_ms: Mapping[str, int]
) -> AdapterPlan:
    """Return what brings a fleet's workers to hold what is wanted; `last_used_ms` knows adapters that were used."""
    declared = {adapter.name: adapter for adapter in wanted}
    by_use = sorted(declared.values(), key=lambda it: (-last_used_ms.get(it.name, 0), it.name))
    places = _Places(workers)
    for adapter in (it for it in by_use if it.pinned):
        _spread(places, adapter, len(places.workers))
    others = [it for it in by_use if not it.pinned]
    for adapter in others:
        _spread(places, adapter, 1)
    for adapter in (it for it in others if it.name in last_used_ms):
        _spread(places, adapter, adapter.max_workers or len(places.workers))
    _keep_what_disturbs_nobody(places, others)
    return AdapterPlan(
        tuple(_unloadings(places)), tuple(_loadings(places, declared)), _unplaced(places, declared.values())
    )


def _spread(places: _Places, adapter: WantedAdapter, most: int) -> None:
    for worker in places.candidates(adapter)[: max(0, most - places.count(adapter))]:
        places.of[worker.name].add(adapter.name)


def _keep_what_disturbs_nobody(places: _Places, others: Iterable[WantedAdapter]) -> None:
    """An adapter that is loaded already stays while there is room, used or not."""
    for adapter in others:
        for worker in places.candidates(adapter):
            if worker.holds(adapter) and places.count(adapter) < (adapter.max_workers or len(places.workers)):
                places.of[worker.name].add(adapter.name)


def _unloadings(places: _Places) -> Iterable[AdapterUnloading]:
    for worker in places.workers:
        for held in worker.held:
            if held.source and held.name not in places.of[worker.name]:
                yield AdapterUnloading(worker.name, held.name)


def _loadings(places: _Places, declared: Mapping[str, WantedAdapter]) -> Iterable[AdapterLoading]:
    for worker in places.workers:
        names = {held.name for held in worker.held}
        for name in sorted(places.of[worker.name]):
            if not worker.holds(declared[name]):
                yield AdapterLoading(worker.name, declared[name], replace=name in names)


def _unplaced(places: _Places, wanted: Iterable[WantedAdapter]) -> Mapping[str, str]:
    nowhere = [adapter for adapter in wanted if not places.count(adapter)]
    return {adapter.name: _reason(places, adapter) for adapter in nowhere}


def _reason(places: _Places, adapter: WantedAdapter) -> str:
    if not places.workers:
        return "no worker is ready"
    if all(worker.limit == 0 for worker in places.workers):
        return "its workers take no adapters: set engine.maxAdapters above 0"
    if all(worker.max_rank < adapter.rank for worker in places.workers):
        return f"its rank {adapter.rank} is above the workers' limit: raise engine.maxAdapterRank"
    return "other adapters take all the room: raise engine.maxAdapters, or add workers"
