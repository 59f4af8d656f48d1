"""Leader election by a Lease: one replica works, the others wait.

No clock is compared with another machine's: a waiting replica takes over when the Lease has not changed for its
duration on its own monotonic clock. A leader that cannot renew gives up before anybody else may take over.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tierline_operator.cluster import ApiError, Call, Cluster
from tierline_operator.feed import TRANSIENT
from tierline_operator.kinds import LEASE
from tierline_operator.settings import Settings

log = logging.getLogger(__name__)


class Election:
    """One replica's candidacy. `settings.lease_seconds` is how long a silent leader is respected."""

    def __init__(self, cluster: Cluster, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._namespace = settings.namespace
        self._name = settings.lease_name
        self._identity = settings.identity
        self._seconds = settings.lease_seconds
        self._clock = clock
        self._seen_version = ""
        self._seen_at = 0.0
        self._renewed = 0.0

    async def acquire(self) -> None:
        """Wait until this replica is the leader."""
        while True:
            asked = self._clock()
            try:
                if await self._try():
                    self._renewed = asked
                    log.info("%s leads", self._identity)
                    return
            except TRANSIENT as error:
                log.warning("cannot read the Lease %s: %s", self._name, error or type(error).__name__)
            await asyncio.sleep(self._seconds / 7)

    async def hold(self) -> None:
        """Renew until that fails for two thirds of the duration, or another replica leads; then return.

        A renewal counts from when it was asked for: others count from when the server made it, which is later.
        """
        while self._left() > 0:
            await asyncio.sleep(min(self._seconds / 7, self._left()))
            asked = self._clock()
            try:
                async with asyncio.timeout(min(self._seconds / 3, self._left())):
                    if not await self._try():
                        log.error("another replica leads")
                        return
                self._renewed = asked
            except TRANSIENT as error:
                log.warning("cannot renew the Lease %s: %s", self._name, error or type(error).__name__)
        log.error("the Lease %s could not be renewed in time", self._name)

    async def release(self) -> None:
        """Give the Lease back, so that the next replica need not wait for it to run out."""
        try:
            async with asyncio.timeout(self._seconds / 3):
                while not await self._release():
                    continue
        except TRANSIENT as error:
            log.warning("cannot release the Lease %s: %s", self._name, error or type(error).__name__)

    async def _release(self) -> bool:
        """Return False when the Lease changed meanwhile: a renewal that was given up may still arrive."""
        lease = await self._read()
        if lease is None or lease["spec"].get("holderIdentity") != self._identity:
            return True
        try:
            await self._replace(lease, holder="")
        except ApiError as error:
            if error.status != 409:
                raise
            return False
        return True

    def _left(self) -> float:
        return self._renewed + self._seconds * 2 / 3 - self._clock()

    async def _try(self) -> bool:
        """Take or renew the Lease if it may be ours; the server refuses all but one of several that try."""
        lease = await self._read()
        try:
            if lease is None:
                await self._create()
                return True
            if not self._may_take(lease):
                return False
            await self._replace(lease, holder=self._identity)
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    def _may_take(self, lease: dict[str, Any]) -> bool:
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, self._clock()
        holder = lease["spec"].get("holderIdentity") or ""
        return holder in {"", self._identity} or self._clock() - self._seen_at > self._seconds

    async def _read(self) -> dict[str, Any] | None:
        try:
            return await self._cluster.request(Call("GET", LEASE.path(self._namespace, self._name)))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _create(self) -> None:
        body = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec(self._identity, 0),
        }
        await self._cluster.request(Call("POST", LEASE.path(self._namespace), body=body))

    async def _replace(self, lease: dict[str, Any], holder: str) -> None:
        changes = lease["spec"].get("leaseTransitions", 0) + (lease["spec"].get("holderIdentity") != holder)
        body = {**lease, "spec": self._spec(holder, changes)}
        await self._cluster.request(Call("PUT", LEASE.path(self._namespace, self._name), body=body))

    def _spec(self, holder: str, changes: int) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, int(self._seconds)),
            "renewTime": now,
            "leaseTransitions": changes,
        }
