"""All objects of one kind, kept up to date by list and watch."""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping

import aiohttp
import msgspec

from tierline_gateway.kube.access import KubeAccessError
from tierline_gateway.kube.client import Json, KubeClient, KubeError

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 15.0
GONE = 410
FAILURES = (KubeError, KubeAccessError, aiohttp.ClientError, msgspec.DecodeError, OSError, TimeoutError, ValueError)


class ObjectStore:
    """Objects by namespace and name. `revision` grows with every change; `synced` is true after the first list."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], Json] = {}
        self.revision = 0
        self.synced = False

    def all(self) -> Iterable[Json]:
        return self._objects.values()

    def replace(self, items: Iterable[Json]) -> None:
        """Take over a whole list: what it does not name is gone, whatever the watch may have missed."""
        fresh = {_key(item): item for item in items}
        if fresh != self._objects or not self.synced:
            self._objects = fresh
            self.revision += 1
        self.synced = True

    def put(self, item: Json) -> None:
        self._objects[_key(item)] = item
        self.revision += 1

    def remove(self, item: Json) -> None:
        if self._objects.pop(_key(item), None) is not None:
            self.revision += 1


def _key(item: Json) -> tuple[str, str]:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Feed:
    """Fills one store for ever: list, watch, and list again after anything that may have cost events."""

    def __init__(self, client: KubeClient, path: str, query: Mapping[str, str] | None = None) -> None:
        self.store = ObjectStore()
        self._client = client
        self._path = path
        self._query = dict(query or {})

    async def run(self) -> None:
        pause_s, loop = FIRST_PAUSE_S, asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            try:
                version = await self._list()
                while True:
                    version = await self._watch(version)
                    # A server that ends every watch at once must not be asked as fast as it answers.
                    await asyncio.sleep(FIRST_PAUSE_S)
            except FAILURES as error:
                if not (isinstance(error, KubeError) and error.status == GONE):
                    log.warning("watching %s failed, listing again: %r", self._path, error)
                if loop.time() - began_s > LONGEST_PAUSE_S:
                    pause_s = FIRST_PAUSE_S
                await asyncio.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - jitter
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _list(self) -> str:
        answer = await self._client.get(self._path, self._query)
        self.store.replace(answer.get("items") or ())
        return str(answer["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        async for event in self._client.watch(self._path, self._query, version):
            item = event["object"]
            if event["type"] == "ERROR":
                raise KubeError(int(item.get("code", 500)), str(item.get("message", "watch failed")))
            version = str(item["metadata"]["resourceVersion"])
            if event["type"] == "DELETED":
                self.store.remove(item)
            elif event["type"] != "BOOKMARK":
                self.store.put(item)
        return version
