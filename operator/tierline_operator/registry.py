"""What kopf does for us: it tells which fleets and pools are there, and keeps each until we have let go of it.

Handlers only begin and end looking after an object; how often it is looked at is our own queue's (`looping`), for a
task of kopf for each object costs memory and work with thousands of them. Drills are few, and theirs are daemons:
what a drill did is undone when it is deleted. kopf writes nothing but the finalizer: no storage in annotations, no
index. Wake-up calls come from our own stores, so that a look never comes before the store knows of what woke it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import kopf

from tierline.api.names import FINALIZER, GROUP, VERSION
from tierline_operator.context import Context
from tierline_operator.kinds import FLEET_DRILL, LLM_FLEET, WORKER_POOL, ResourceKind
from tierline_operator.looping import CANCELLATION_SECONDS, Looper
from tierline_operator.stores import ADAPTERS
from tierline_operator.wakes import WakeKey

LONGEST_PAUSE_SECONDS = 30.0

Reconcile = Callable[[str, str], Awaitable[float | None]]


def build_registry(context: Context) -> kopf.OperatorRegistry:
    """Return a registry of its own, so that several operators can live in one process."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await context.cluster.login()

    fleet_looks = {LLM_FLEET.kind: context.reconciler.fleet, ADAPTERS: context.adapters.adapters}
    _look_after(registry, context.looper, LLM_FLEET, fleet_looks)
    _look_after(registry, context.looper, WORKER_POOL, {WORKER_POOL.kind: context.pools.pool})
    _carry_out_drills(registry, context)
    return registry


def _look_after(
    registry: kopf.OperatorRegistry, looper: Looper, kind: ResourceKind, looks: Mapping[str, Reconcile]
) -> None:
    """Look after all objects of a kind, by one look or several that know nothing of each other."""

    uids: dict[tuple[str, str], str] = {}

    async def end(namespace: str, name: str, uid: str) -> None:
        # News of a former object may come after those of its successor.
        if uids.get((namespace, name)) == uid:
            del uids[namespace, name]
            await asyncio.gather(*(looper.end(WakeKey(about, namespace, name)) for about in looks))

    @kopf.on.event(GROUP, VERSION, kind.plural, id="begin", registry=registry)
    async def begin(event: kopf.RawEvent, namespace: str | None, name: str, uid: str, **_: Any) -> None:
        if event["type"] == "DELETED":
            await end(namespace or "", name, uid)
        elif "deletionTimestamp" not in event["object"]["metadata"]:
            uids[namespace or "", name] = uid
            for about, look in looks.items():
                looper.begin(WakeKey(about, namespace or "", name), partial(look, namespace or "", name))

    @kopf.on.delete(GROUP, VERSION, kind.plural, id="end", registry=registry)
    async def let_go(namespace: str | None, name: str, uid: str, **_: Any) -> None:
        await end(namespace or "", name, uid)


def _carry_out_drills(registry: kopf.OperatorRegistry, context: Context) -> None:
    @kopf.daemon(
        GROUP, VERSION, FLEET_DRILL.plural, id="drill", registry=registry, cancellation_timeout=CANCELLATION_SECONDS
    )
    async def drill(namespace: str | None, name: str, **_: Any) -> None:
        key = WakeKey(FLEET_DRILL.kind, namespace or "", name)
        try:
            # Being cancelled is how kopf stops a daemon: the object goes away, or the operator does.
            with suppress(asyncio.CancelledError):
                await context.looper.look_after(key, partial(context.drills.drill, key.namespace, name))
        finally:
            await context.drills.deleted(key.namespace, name)


def kopf_settings() -> kopf.OperatorSettings:
    """Return settings under which kopf writes nothing but our finalizer and outlives an absent API server."""
    settings = kopf.OperatorSettings()
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.watching.server_timeout = 600
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = PausesForEver()
    settings.background.cancellation_polling = 5
    return settings


class NoDiffBase(kopf.DiffBaseStorage):
    """Daemons need no difference to what was handled last; kopf would copy each object at each event to find it."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return {}

    def store(self, **_: Any) -> None:
        """Nothing is kept."""


class PausesForEver:
    """Pauses between tries, growing to a limit and never ending: kopf gives up when its pauses run out."""

    def __iter__(self) -> Iterator[float]:
        longest = 0.2
        while True:
            yield random.uniform(longest / 2, longest)  # noqa: S311 - jitter
            longest = min(longest * 2, LONGEST_PAUSE_SECONDS)
