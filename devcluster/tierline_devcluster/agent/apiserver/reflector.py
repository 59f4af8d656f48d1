"""A local copy of a list of objects, kept by list and watch.

After every list the copy is replaced, so an object that vanished while nobody watched is reported as gone.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from tierline_devcluster.agent.apiserver.client import TRANSIENT, ApiError
from tierline_devcluster.agent.pod.spec import Json

_LOG = logging.getLogger(__name__)
_GONE = 410
_RETRY_PAUSE_S = 0.5


class Lister(Protocol):
    """What a reflector needs of a client."""

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json: ...

    def watch(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Json]: ...


@dataclass(slots=True)
class Reflector:
    """Copies the objects at `path` into `objects` (by uid) and calls back on each change."""

    api: Lister
    path: str
    on_present: Callable[[Json], None]
    on_gone: Callable[[Json], None]
    params: Mapping[str, str] = field(default_factory=dict)
    objects: dict[str, Json] = field(default_factory=dict)
    synced: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """List and watch for ever; failures of the connection are retried."""
        while True:
            try:
                await self._list_and_watch()
            except TRANSIENT as error:
                _LOG.info("watch of %s starts again: %s", self.path, error)
                await asyncio.sleep(_RETRY_PAUSE_S)

    async def _list_and_watch(self) -> None:
        listing = await self.api.get(self.path, self.params)
        self._replace(listing["items"])
        self.synced.set()
        version = listing["metadata"]["resourceVersion"]
        while True:
            async with aclosing(self._events(version)) as events:
                async for event in events:
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._apply(event)

    async def _events(self, version: str) -> AsyncGenerator[Json, None]:
        async for event in self.api.watch(self.path, {**self.params, "resourceVersion": version}):
            if event["type"] == "ERROR":
                status = event["object"]
                raise ApiError(status.get("code", _GONE), status.get("message", ""))
            yield event

    def _replace(self, items: list[Json]) -> None:
        fresh = {each["metadata"]["uid"]: each for each in items}
        vanished = [obj for uid, obj in self.objects.items() if uid not in fresh]
        self.objects.clear()
        self.objects.update(fresh)
        for obj in vanished:
            self.on_gone(obj)
        for obj in fresh.values():
            self.on_present(obj)

    def _apply(self, event: Json) -> None:
        kind, obj = event["type"], event["object"]
        if kind == "BOOKMARK":
            return
        uid = obj["metadata"]["uid"]
        if kind == "DELETED":
            self.objects.pop(uid, None)
            self.on_gone(obj)
        else:
            self.objects[uid] = obj
            self.on_present(obj)
