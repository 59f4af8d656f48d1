"""What kopf does for us: one daemon for each fleet and pool, with a finalizer that it takes off by itself.

Nothing else of kopf is used: no handlers of edges, no index, no storage in annotations. Wake-up calls come from our
own stores, so that a loop never looks before the store has taken in the change that woke it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import kopf

from tierline.api.names import FINALIZER, GROUP, VERSION
from tierline_operator.context import Context
from tierline_operator.kinds import FLEET_DRILL, LLM_FLEET, WORKER_POOL
from tierline_operator.stores import ADAPTERS
from tierline_operator.wakes import WakeKey

CANCELLATION_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 30.0

Reconcile = Callable[[str, str], Awaitable[float | None]]


def build_registry(context: Context) -> kopf.OperatorRegistry:
    """Return a registry of its own, so that several operators can live in one process."""
    registry = kopf.OperatorRegistry()

    async def look_after(kind: str, namespace: str | None, name: str, look: Reconcile) -> None:
        key = WakeKey(kind, namespace or "", name)
        # Being cancelled is how kopf stops a daemon: the object goes away, or the operator does.
        with suppress(asyncio.CancelledError):
            await context.looper.look_after(key, lambda: look(key.namespace, key.name))

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await context.cluster.login()

    @kopf.daemon(
        GROUP, VERSION, LLM_FLEET.plural, id="fleet", registry=registry, cancellation_timeout=CANCELLATION_SECONDS
    )
    async def fleet(namespace: str | None, name: str, **_: Any) -> None:
        await look_after(LLM_FLEET.kind, namespace, name, context.reconciler.fleet)

    @kopf.daemon(
        GROUP, VERSION, LLM_FLEET.plural, id="adapters", registry=registry, cancellation_timeout=CANCELLATION_SECONDS
    )
    async def adapters(namespace: str | None, name: str, **_: Any) -> None:
        await look_after(ADAPTERS, namespace, name, context.adapters.adapters)

    @kopf.daemon(
        GROUP, VERSION, WORKER_POOL.plural, id="pool", registry=registry, cancellation_timeout=CANCELLATION_SECONDS
    )
    async def pool(namespace: str | None, name: str, **_: Any) -> None:
        await look_after(WORKER_POOL.kind, namespace, name, context.pools.pool)

    @kopf.daemon(
        GROUP, VERSION, FLEET_DRILL.plural, id="drill", registry=registry, cancellation_timeout=CANCELLATION_SECONDS
    )
    async def drill(namespace: str | None, name: str, **_: Any) -> None:
        try:
            await look_after(FLEET_DRILL.kind, namespace, name, context.drills.drill)
        finally:
            await context.drills.deleted(namespace or "", name)

    return registry


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
