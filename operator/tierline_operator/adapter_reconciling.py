"""One look at a fleet's adapters: ask its workers, plan, load and unload, remember where what is.

Nothing is recorded in the cluster before it is done: a worker is its own record of what it serves, and a deleted
adapter is unloaded because nobody wants it any more. So no object needs a finalizer for it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import aiohttp

from tierline.api.adapter import LoRAAdapter
from tierline.api.pool import WorkerPool
from tierline.api.problems import InvalidResource
from tierline.fleet.adapters.planner import AdapterPlan, AdapterWorker, HeldAdapter, WantedAdapter, plan_adapters
from tierline.fleet.adapters.status import AdapterSight
from tierline.fleet.reading import read_pod
from tierline_operator.declarations import read_declared
from tierline_operator.kinds import LLM_FLEET, LORA_ADAPTER, POD, WORKER_POOL
from tierline_operator.reconciling import Clock, epoch_ms
from tierline_operator.stores import POLICY_KEY, Stores
from tierline_operator.wakes import Wakes
from tierline_operator.worker_adapters import UNREACHABLE, AdapterNotTaken, WorkerAdapters

log = logging.getLogger(__name__)

USE_SECONDS = 10.0
"""How often workers are asked which adapters are used and resident: no watch tells."""

AdapterKey = tuple[str, str]


@dataclass(slots=True)
class AdapterSights:
    """Where adapters were last seen: by namespace and fleet, then by adapter."""

    of_fleet: dict[AdapterKey, Mapping[str, AdapterSight]] = field(default_factory=dict)

    def of_adapter(self, namespace: str, fleets: Iterable[str], name: str) -> Mapping[str, AdapterSight | None]:
        """Return what is known of one adapter by the fleets it names."""
        return {fleet: self.of_fleet.get((namespace, fleet), {}).get(name) for fleet in fleets}


class AdapterReconciler:
    """Brings the workers of single fleets nearer to the adapters that are wanted there."""

    def __init__(
        self,
        stores: Stores,
        wakes: Wakes,
        sights: AdapterSights,
        clock: Clock = epoch_ms,
        connect: Callable[[], aiohttp.ClientSession] = aiohttp.ClientSession,
    ) -> None:
        self._stores = stores
        self._wakes = wakes
        self._sights = sights
        self._clock = clock
        self._connect = connect
        self._last_used_ms: dict[AdapterKey, dict[str, int]] = {}

    async def adapters(self, namespace: str, fleet: str) -> float | None:
        """Look after one fleet's adapters; returns when to ask its workers again."""
        wanted = wanted_adapters(self._stores, namespace, fleet)
        hosts = _workers(self._stores, namespace, fleet)
        if self._stores[LLM_FLEET].get(namespace, fleet) is None or not (wanted or hosts):
            self._remember((namespace, fleet), {})
            return None
        async with self._connect() as session:
            asked = WorkerAdapters(session)
            workers = await _ask_all(asked, hosts)
            plan = plan_adapters(wanted, workers.values(), self._uses((namespace, fleet), wanted, workers.values()))
            refusals = await _carry_out(asked, plan, {name: host for name, (host, _) in hosts.items()})
            if plan.loadings or plan.unloadings:
                workers = await _ask_all(asked, hosts)
        self._remember((namespace, fleet), _sights(wanted, workers.values(), plan, refusals))
        return USE_SECONDS if wanted or any(worker.held for worker in workers.values()) else None

    def _uses(
        self, key: AdapterKey, wanted: Iterable[WantedAdapter], workers: Iterable[AdapterWorker]
    ) -> Mapping[str, int]:
        names = {adapter.name for adapter in wanted}
        now = {held.name: self._clock() for worker in workers for held in worker.held if held.in_use}
        uses = {name: at for name, at in (self._last_used_ms.get(key, {}) | now).items() if name in names}
        self._last_used_ms[key] = uses
        return uses

    def _remember(self, key: AdapterKey, seen: Mapping[str, AdapterSight]) -> None:
        if self._sights.of_fleet.get(key, {}) == seen:
            return
        self._sights.of_fleet[key] = seen
        if not seen:
            self._sights.of_fleet.pop(key, None)
            self._last_used_ms.pop(key, None)
        self._wakes.wake(POLICY_KEY)


def valid_adapters(stores: Stores, namespace: str) -> list[LoRAAdapter]:
    """Return the adapters of a namespace that can be used."""
    found: list[LoRAAdapter] = []
    for obj in stores[LORA_ADAPTER].all(namespace):
        try:
            found.append(read_declared(LoRAAdapter, obj))
        except InvalidResource:
            continue
    return found


def wanted_adapters(stores: Stores, namespace: str, fleet: str) -> tuple[WantedAdapter, ...]:
    """Return the adapters that a fleet shall serve."""
    return tuple(
        WantedAdapter(
            it.metadata.name, it.spec.source, it.spec.rank, it.spec.pinning == "EveryWorker", it.spec.max_workers
        )
        for it in valid_adapters(stores, namespace)
        if fleet in it.spec.fleet_refs and not it.metadata.deletion_timestamp
    )


def _workers(stores: Stores, namespace: str, fleet: str) -> Mapping[str, tuple[str, AdapterWorker]]:
    """Return address and limits of the fleet's ready workers; those of pools without adapters are left out."""
    found: dict[str, tuple[str, AdapterWorker]] = {}
    live = stores[LLM_FLEET].get(namespace, fleet)
    for obj in stores[WORKER_POOL].owned_by(live["metadata"]["uid"]) if live is not None else ():
        try:
            engine = read_declared(WorkerPool, obj).spec.engine
        except InvalidResource:
            continue
        for pod in stores[POD].owned_by(obj["metadata"]["uid"]) if engine.max_adapters else ():
            seen, host = read_pod(pod), pod.get("status", {}).get("podIP", "")
            if seen.ready and not seen.terminating and host:
                found[seen.name] = (host, AdapterWorker(seen.name, engine.max_adapters, engine.max_adapter_rank))
    return found


async def _ask_all(asked: WorkerAdapters, hosts: Mapping[str, tuple[str, AdapterWorker]]) -> dict[str, AdapterWorker]:
    """Return the workers that answer, with what they serve."""

    async def ask(host: str, worker: AdapterWorker) -> tuple[HeldAdapter, ...] | None:
        try:
            return await asked.held(host)
        except UNREACHABLE as error:
            log.warning("worker %s does not tell its adapters: %s", worker.name, error or type(error).__name__)
            return None

    answers = await asyncio.gather(*(ask(host, worker) for host, worker in hosts.values()))
    told = zip((worker for _, worker in hosts.values()), answers, strict=True)
    return {worker.name: replace(worker, held=held) for worker, held in told if held is not None}


async def _carry_out(asked: WorkerAdapters, plan: AdapterPlan, hosts: Mapping[str, str]) -> Mapping[str, str]:
    """Unload, then load, worker by worker; returns what went wrong by adapter."""
    problems: dict[str, str] = {}

    async def at(worker: str) -> None:
        for gone in (it for it in plan.unloadings if it.worker == worker):
            await _told(problems, gone.name, asked.unload(hosts[worker], gone.name))
        for new in (it for it in plan.loadings if it.worker == worker):
            await _told(problems, new.adapter.name, asked.load(hosts[worker], new.adapter, new.replace))

    await asyncio.gather(*(at(worker) for worker in plan.workers))
    return problems


async def _told(problems: dict[str, str], name: str, work: Awaitable[None]) -> None:
    try:
        await work
    except AdapterNotTaken as refused:
        problems[name] = str(refused)
    except UNREACHABLE as error:
        problems[name] = f"a worker did not answer ({error or type(error).__name__})"


def _sights(
    wanted: Iterable[WantedAdapter], workers: Iterable[AdapterWorker], plan: AdapterPlan, refusals: Mapping[str, str]
) -> Mapping[str, AdapterSight]:
    known = tuple(workers)
    return {
        adapter.name: AdapterSight(
            standing={
                worker.name: "Resident" if held.resident else "Loadable"
                for worker in known
                for held in worker.held
                if held.name == adapter.name
            },
            problem=refusals.get(adapter.name) or plan.unplaced.get(adapter.name, ""),
        )
        for adapter in wanted
    }
