"""One look at a fleet or a pool: observe, plan, carry out, tell."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from tierline.fleet.fleet_plan import ChildKey, FleetObservation, FleetPlan, owns, plan_fleet
from tierline.fleet.fleet_status import fleet_status, fleet_verdicts
from tierline.fleet.observed import Manifest
from tierline.fleet.scaling.status import PLANNING_CONDITIONS, standing_verdicts
from tierline.fleet.verdicts import Verdict, notices_of
from tierline.fleet.wanted import Images
from tierline_operator.actuator import Actuator
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.cluster import ApiError
from tierline_operator.kinds import BY_KIND
from tierline_operator.looping import Refused
from tierline_operator.observing import find_fleet, observe_fleet
from tierline_operator.stores import Stores

log = logging.getLogger(__name__)

NAME_TAKEN_SECONDS = 10.0
"""Pause before another look for an object that bears our name without our label: no watch tells when it goes."""

Clock = Callable[[], int]


def epoch_ms() -> int:
    return time.time_ns() // 1_000_000


class Reconciler:
    """Brings single objects nearer to what is wanted; every method may be called again at any time."""

    def __init__(
        self, stores: Stores, actuator: Actuator, images: Images, *, book: CapacityBook, clock: Clock = epoch_ms
    ) -> None:
        self._stores = stores
        self._book = book
        self._actuator = actuator
        self._images = images
        self._clock = clock

    async def fleet(self, namespace: str, name: str) -> float | None:
        """Reconcile one fleet; returns when to look again although nothing woke us. Raises `Refused`, after telling."""
        live = find_fleet(self._stores, namespace, name)
        if live is None or "deletionTimestamp" in live["metadata"]:
            return None
        seen = observe_fleet(self._stores, live, self._images)
        strangers = await self._strangers(seen)
        plan = plan_fleet(replace(seen, strangers=strangers))
        refusal = await first_refusal(self._fleet_writes(namespace, plan))
        await self._tell_fleet(namespace, name, refusal, strangers)
        if refusal:
            raise Refused(refusal)
        return NAME_TAKEN_SECONDS if strangers else None

    async def _strangers(self, seen: FleetObservation) -> frozenset[ChildKey]:
        """The stores hold labelled objects only, and an apply would take over whatever else bears a child's name."""
        found: set[ChildKey] = set()
        for key in (it for it in seen.absent() if BY_KIND[it.kind].selector):
            live = await self._actuator.find(BY_KIND[key.kind], seen.fleet.namespace, key.name)
            if live is not None and not owns(seen.fleet, live):
                found.add(key)
        return frozenset(found)

    def _fleet_writes(self, namespace: str, plan: FleetPlan) -> Iterable[Awaitable[None]]:
        yield from (self._actuator.create(it) for it in plan.creates)
        yield from (self._actuator.apply(it) for it in plan.applies)
        yield from (self._actuator.scale(namespace, it.name, it.replicas) for it in plan.scales)
        yield from (self._actuator.delete(it) for it in plan.deletes)

    async def _tell_fleet(self, namespace: str, name: str, refusal: str, strangers: frozenset[ChildKey]) -> None:
        live = find_fleet(self._stores, namespace, name)
        if live is None:
            return
        seen = replace(observe_fleet(self._stores, live, self._images), strangers=strangers)
        planned, cents_per_hour = self._planned(live)
        verdicts = (*fleet_verdicts(seen, refusal), *planned)
        weights = self._book.cached(str(live["spec"].get("model", {}).get("source", "")))
        status = fleet_status(seen, verdicts, self._clock(), cents_per_hour, weights)
        await self._actuator.write_status(seen.fleet, live, status)
        for notice in notices_of(seen.fleet, verdicts):
            await self._actuator.post_event(seen.fleet, notice)

    def _planned(self, live: Manifest) -> tuple[tuple[Verdict, ...], int]:
        """Return what planning says of the fleet, and its cost an hour; what stands there until it has planned once."""
        metadata, status = live["metadata"], live.get("status", {})
        report = self._book.report(metadata["namespace"], metadata["name"])
        if report is not None:
            return report.verdicts, report.cents_per_hour
        standing = standing_verdicts(status.get("conditions", ()), PLANNING_CONDITIONS)
        return standing, int(status.get("centsPerHour", 0))


async def first_refusal(writes: Iterable[Awaitable[None]]) -> str:
    """Make the writes in order; one that the server refuses does not keep the others back."""
    refusal = ""
    for write in writes:
        try:
            await write
        except ApiError as error:
            if not error.is_refusal:
                raise
            refusal = refusal or f"The API server refused a write: {error}"
            log.warning("refused: %s", error)
    return refusal
