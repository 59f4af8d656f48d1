"""Keeps one store up to date: list, then watch, then again, through every error, until cancelled."""

import asyncio
import logging
import random

import aiohttp
from kubernetes.aio.config import ConfigException

from tierline_operator.cluster import ApiError, Cluster
from tierline_operator.kinds import ResourceKind
from tierline_operator.store import Key, Store

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
TRANSIENT = (ApiError, aiohttp.ClientError, TimeoutError, OSError, ConfigException)
"""What may go wrong on the way to the API server and back, a login whose file is being replaced included."""
BROKEN_STREAM = (*TRANSIENT, ValueError)
"""A line of a watch may be cut off (no JSON) or longer than the client reads, both of which are `ValueError`."""


class Feed:
    """One kind in one namespace (or in all of them). `synced` is set once the store has been filled."""

    def __init__(self, cluster: Cluster, kind: ResourceKind, store: Store, namespace: str | None) -> None:
        self._cluster = cluster
        self._kind = kind
        self._store = store
        self._namespace = namespace
        self._typed = {"apiVersion": kind.api_version, "kind": kind.kind}
        self._failures = 0
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Never returns; lists again after anything that may have cost us events."""
        while True:
            try:
                version = await self._list()
                while True:
                    version = await self._watch(version)
            except BROKEN_STREAM as error:
                await self._pause(error)

    @property
    def _path(self) -> str:
        return self._kind.path(self._namespace or "")

    @property
    def _query(self) -> dict[str, str]:
        return {"labelSelector": self._kind.selector}

    async def _list(self) -> str:
        listed: set[Key] = set()
        version = ""
        async for page, at in self._cluster.pages(self._path, self._query):
            listed |= {self._store.note({**self._typed, **item}) for item in page}
            version = at
        self._store.keep_only(listed, version, self._namespace)
        self._failures = 0
        self.synced.set()
        return version

    async def _watch(self, version: str) -> str:
        async for event in self._cluster.watch(self._path, self._query, version):
            obj = event["object"]
            if event["type"] == "ERROR":
                raise ApiError(obj.get("code", 500), obj.get("reason", ""), obj.get("message", "watch failed"))
            version = obj["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                self._store.forget(obj)
            elif event["type"] != "BOOKMARK":
                self._store.note(obj)
            self._failures = 0
        return version

    async def _pause(self, error: Exception) -> None:
        if isinstance(error, ApiError) and error.status == 410:
            return
        level = logging.WARNING if self._failures < 3 else logging.ERROR
        log.log(level, "watching %s failed, listing again: %s", self._kind.plural, error or type(error).__name__)
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - jitter
