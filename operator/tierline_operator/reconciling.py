"""One look at a fleet or a pool: observe, plan, carry out, tell."""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from tierline.fleet.fleet_plan import FleetObservation, FleetPlan, plan_fleet
from tierline.fleet.fleet_status import fleet_status, fleet_verdicts
from tierline.fleet.observed import Manifest
from tierline.fleet.scaling.status import PLANNING_CONDITIONS, standing_verdicts
from tierline.fleet.verdicts import Verdict
from tierline.fleet.wanted import Images
from tierline_operator.actuator import Actuator
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.kinds import DEPLOYMENT, ROLE_BINDING, WORKER_POOL
from tierline_operator.looping import NotYet, Refused
from tierline_operator.observing import find_fleet, observe_fleet
from tierline_operator.stores import Stores
from tierline_operator.taken_names import TakenNames
from tierline_operator.telling import Teller
from tierline_operator.together import first_refusal

NAME_TAKEN_SECONDS = 10.0
"""Pause before another look for an object that bears our name without our label: no watch tells when it goes."""

_LATER = frozenset({ROLE_BINDING.kind, DEPLOYMENT.kind})
"""A binding is refused before its role is there, and a gateway's pods before their account is."""

Clock = Callable[[], int]


def epoch_ms() -> int:
    return time.time_ns() // 1_000_000


class Reconciler:
    """Brings single objects nearer to what is wanted; every method may be called again at any time.

    A status is written at most once in `status_seconds`.
    """

    def __init__(
        self,
        stores: Stores,
        actuator: Actuator,
        images: Images,
        *,
        book: CapacityBook,
        clock: Clock = epoch_ms,
        status_seconds: float = 0.0,
    ) -> None:
        self._stores = stores
        self._book = book
        self._actuator = actuator
        self._images = images
        self._clock = clock
        self._names = TakenNames(actuator)
        self._teller = Teller(actuator, status_seconds)

    async def fleet(self, namespace: str, name: str) -> float | None:
        """Reconcile one fleet; returns when to look again although nothing woke us. Raises `Refused`, after telling."""
        live = find_fleet(self._stores, namespace, name)
        if live is None:
            raise NotYet
        if "deletionTimestamp" in live["metadata"]:
            return None
        changes, seen = self._stores.changes, observe_fleet(self._stores, live, self._images)
        seen = replace(seen, strangers=await self._names.ask(seen))
        refusal = await first_refusal(self._fleet_writes(seen, plan_fleet(seen)))
        seen = replace(seen, strangers=self._names.taken(seen))
        now, seen = (live, seen) if self._stores.changes == changes else self._afresh(seen)
        left = await self._tell_fleet(now, seen, refusal) if now is not None else None
        if refusal:
            raise Refused(refusal)
        return left or (NAME_TAKEN_SECONDS if seen.strangers else None)

    def _fleet_writes(self, seen: FleetObservation, plan: FleetPlan) -> Iterable[Sequence[Awaitable[None]]]:
        """Yield stage after stage: the pools come first, since their workers take longest to start."""
        applied, namespace = plan.applies, seen.fleet.namespace
        pools = {it["metadata"]["name"]: it for it in applied if it["kind"] == WORKER_POOL.kind}
        sizes = {it.name: it.replicas for it in plan.scales}
        names = dict.fromkeys((*pools, *sizes))
        yield [self._write_pool(namespace, name, pools.get(name), sizes.get(name)) for name in names]
        yield [self._names.apply(seen, it) for it in applied if it["kind"] not in {WORKER_POOL.kind, *_LATER}]
        if self._names.taken(seen):
            return
        yield [self._names.apply(seen, it) for it in applied if it["kind"] in _LATER]
        yield [self._actuator.delete(it) for it in plan.deletes]

    async def _write_pool(self, namespace: str, name: str, manifest: Manifest | None, replicas: int | None) -> None:
        """Write a pool and its size without a pause between them: its own loop waits for both."""
        if manifest is not None:
            await self._actuator.apply(manifest)
        if replicas is not None:
            await self._actuator.scale(namespace, name, replicas)

    def _afresh(self, former: FleetObservation) -> tuple[Manifest | None, FleetObservation]:
        """Return the fleet as it is after the writes.

        None where its spec is another one by now: that was not acted on, so the next look tells of it.
        """
        live = find_fleet(self._stores, former.fleet.namespace, former.fleet.name)
        if live is None or not former.fleet.asks_as(live):
            return None, former
        return live, replace(observe_fleet(self._stores, live, self._images), strangers=former.strangers)

    async def _tell_fleet(self, live: Manifest, seen: FleetObservation, refusal: str) -> float | None:
        """Write the fleet's status, or return how long to wait with it: one that is refused is told of at once."""
        planned, cents_per_hour = self._planned(live)
        verdicts = (*fleet_verdicts(seen, refusal), *planned)
        weights = self._book.cached(str(live["spec"].get("model", {}).get("source", "")))
        status = fleet_status(seen, verdicts, self._clock(), cents_per_hour, weights)
        return await self._teller.tell(seen.fleet, live, status, verdicts, at_once=bool(refusal))

    def _planned(self, live: Manifest) -> tuple[tuple[Verdict, ...], int]:
        """Return what planning says of the fleet, and its cost an hour; what stands there until it has planned once."""
        metadata, status = live["metadata"], live.get("status", {})
        report = self._book.report(metadata["namespace"], metadata["name"])
        if report is not None:
            return report.verdicts, report.cents_per_hour
        standing = standing_verdicts(status.get("conditions", ()), PLANNING_CONDITIONS)
        return standing, int(status.get("centsPerHour", 0))
