"""When each new fleet passed the stations on its way to its workers, as watches of this process saw them.

accepted    the API server has answered the apply
pool        the operator has made the fleet's pool
recorded    the numbers of the pool's first workers are recorded in its status
first_pod   the first of its workers is there
last_pod    the last of them is
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tierline.api.names import LABEL_FLEET
from tierline.telemetry.percentiles import nearest_rank
from tierline_cli.bench.operator.fleets import NAMESPACE
from tierline_operator.cluster import ApiError, Cluster
from tierline_operator.kinds import POD, WORKER_POOL, ResourceKind

STATIONS = ("accepted", "pool", "recorded", "first_pod", "last_pod")
WORKERS = "app.kubernetes.io/component=worker"
POOLS = "app.kubernetes.io/component=pool"

Object = Mapping[str, Any]


class Stations:
    """Moments by fleet and station, on this process's clock."""

    def __init__(self, cluster: Cluster, pods_per_fleet: int) -> None:
        self._cluster = cluster
        self._wanted = pods_per_fleet
        self._pods: set[str] = set()
        self._count: Counter[str] = Counter()
        self.passed_at: dict[str, dict[str, float]] = {}
        self.changed = asyncio.Event()

    @property
    def complete(self) -> int:
        """How many fleets have all their workers."""
        return sum("last_pod" in passed for passed in self.passed_at.values())

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(POD, WORKERS, self._note_pod))
            group.create_task(self._watch(WORKER_POOL, POOLS, self._note_pool))

    async def until(self, names: Collection[str]) -> None:
        """Wait until all these fleets have their workers."""
        while not all("last_pod" in self.passed_at.get(name, {}) for name in names):
            self.changed.clear()
            await self.changed.wait()

    def note(self, fleet: str, station: str) -> None:
        """Note that a fleet passes a station now, unless it has before."""
        self.passed_at.setdefault(fleet, {}).setdefault(station, time.monotonic())

    def since(self, applied_at: Mapping[str, float]) -> dict[str, dict[str, float]]:
        """Return milliseconds from the apply to each station, at the median and the 99th percentile."""
        took = {
            station: sorted(1000 * (self.passed_at[name][station] - moment) for name, moment in applied_at.items())
            for station in STATIONS
        }
        return {
            station: {f"p{at}": round(nearest_rank(times, at), 1) for at in (50, 99)} for station, times in took.items()
        }

    async def _watch(self, kind: ResourceKind, selector: str, note: Callable[[Object], None]) -> None:
        query = {"labelSelector": selector}
        while True:
            items, version = await self._cluster.list_all(kind.path(NAMESPACE), query)
            for item in items:
                note(item)
            try:
                async for event in self._cluster.watch(kind.path(NAMESPACE), query, version):
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        note(event["object"])
            except (ApiError, TimeoutError):
                continue

    def _note_pod(self, pod: Object) -> None:
        metadata = pod["metadata"]
        if metadata["uid"] in self._pods:
            return
        fleet = metadata["labels"][LABEL_FLEET]
        self._pods.add(metadata["uid"])
        self._count[fleet] += 1
        self.note(fleet, "first_pod")
        if self._count[fleet] == self._wanted:
            self.note(fleet, "last_pod")
            self.changed.set()

    def _note_pool(self, pool: Object) -> None:
        fleet = pool["spec"].get("fleetRef", "")
        self.note(fleet, "pool")
        if pool.get("status", {}).get("lastAttempt", 0) >= self._wanted:
            self.note(fleet, "recorded")
