"""One look at a fleet or a pool: observe, plan, carry out, tell."""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from tierline.fleet.fleet_plan import ChildKey, FleetObservation, FleetPlan, owns, plan_fleet
from tierline.fleet.fleet_status import fleet_status, fleet_verdicts
from tierline.fleet.observed import Manifest
from tierline.fleet.pool_plan import PoolPlan, plan_pool
from tierline.fleet.pool_status import pool_status, pool_verdicts
from tierline.fleet.verdicts import notices_of
from tierline.fleet.wanted import Images
from tierline.fleet.worker_pod import worker_pod
from tierline_operator.actuator import Actuator
from tierline_operator.cluster import ApiError
from tierline_operator.kinds import BY_KIND
from tierline_operator.looping import Refused
from tierline_operator.observing import find_fleet, find_pool, observe_fleet, observe_pool
from tierline_operator.stores import Stores

log = logging.getLogger(__name__)

NAME_TAKEN_SECONDS = 10.0
"""Pause before another look for an object that bears our name without our label: no watch tells when it goes."""

Clock = Callable[[], int]


def epoch_ms() -> int:
    return time.time_ns() // 1_000_000


class Reconciler:
    """Brings single objects nearer to what is wanted; every method may be called again at any time."""

    def __init__(self, stores: Stores, actuator: Actuator, images: Images, clock: Clock = epoch_ms) -> None:
        self._stores = stores
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
        refusal = await _first_refusal(self._fleet_writes(namespace, plan))
        await self._tell_fleet(namespace, name, refusal, strangers)
        if refusal:
            raise Refused(refusal)
        return NAME_TAKEN_SECONDS if strangers else None

    async def pool(self, namespace: str, name: str) -> float | None:
        """Reconcile one pool; returns the seconds until time alone changes its plan, or raises `Refused` with them."""
        live = find_pool(self._stores, namespace, name)
        if live is None or "deletionTimestamp" in live["metadata"]:
            return None
        seen, template, _ = observe_pool(self._stores, live, self._images, self._clock())
        plan = plan_pool(seen)
        if template is not None and plan.attempts:
            # Recorded before the pods exist: whatever happens next, no attempt's name is used a second time.
            recorded = {**live.get("status", {}), "lastAttempt": plan.last_attempt}
            await self._actuator.write_status(seen.pool, live, recorded, fenced=True)
        refusal = await _first_refusal(self._pool_writes(namespace, name, plan, template))
        refusal = _without_attempts(refusal, name)
        await self._tell_pool(namespace, name, plan.last_attempt, refusal)
        due = None if plan.wake_at_ms is None else max(0, plan.wake_at_ms - self._clock()) / 1000
        if refusal:
            raise Refused(refusal, due)
        return due

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

    def _pool_writes(
        self, namespace: str, pool: str, plan: PoolPlan, template: Manifest | None
    ) -> Iterable[Awaitable[None]]:
        yield from (self._actuator.publish_deadline(namespace, it) for it in plan.evacuations)
        if template is not None:
            yield from (self._actuator.create(worker_pod(template, pool, it)) for it in plan.attempts)
        yield from (self._actuator.remove_pod(namespace, it) for it in plan.removals)

    async def _tell_fleet(self, namespace: str, name: str, refusal: str, strangers: frozenset[ChildKey]) -> None:
        live = find_fleet(self._stores, namespace, name)
        if live is None:
            return
        seen = replace(observe_fleet(self._stores, live, self._images), strangers=strangers)
        verdicts = fleet_verdicts(seen, refusal)
        await self._actuator.write_status(seen.fleet, live, fleet_status(seen, verdicts, self._clock()))
        for notice in notices_of(seen.fleet, verdicts):
            await self._actuator.post_event(seen.fleet, notice)

    async def _tell_pool(self, namespace: str, name: str, last_attempt: int, refusal: str) -> None:
        live = find_pool(self._stores, namespace, name)
        if live is None:
            return
        seen, _, problems = observe_pool(self._stores, live, self._images, self._clock())
        verdicts = pool_verdicts(seen, problems, refusal)
        await self._actuator.write_status(seen.pool, live, pool_status(seen, verdicts, last_attempt))
        for notice in notices_of(seen.pool, verdicts):
            await self._actuator.post_event(seen.pool, notice)


def _without_attempts(message: str, pool: str) -> str:
    """Return the message without the number of the worker: it differs each time, and a status must not."""
    return re.sub(rf"(?<![\w.-]){re.escape(pool)}-\d+(?![\w.-])", f"{pool}-*", message)


async def _first_refusal(writes: Iterable[Awaitable[None]]) -> str:
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
