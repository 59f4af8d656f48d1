"""Many small fleets, and a watch that tells when their pods are there."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tierline.api.names import API_VERSION, LABEL_FLEET
from tierline_operator.cluster import ApiError, Call, Cluster
from tierline_operator.kinds import LLM_FLEET, POD, SLO_TIER

NAMESPACE = "default"
TIER = "bench"
WORKERS = "app.kubernetes.io/component=worker"


def fleet(name: str, pods: int) -> dict[str, Any]:
    """Return a fleet of so many workers."""
    pools = [{"name": "main", "replicas": {"min": pods, "max": pods}, "resources": {"cpu": "1m"}}]
    spec = {"model": {"source": "/models/none"}, "tierRefs": [TIER], "pools": pools}
    return {"apiVersion": API_VERSION, "kind": LLM_FLEET.kind, "metadata": {"name": name}, "spec": spec}


async def create_tier(cluster: Cluster) -> None:
    """Create the one tier of all fleets."""
    spec = {"objective": "Throughput", "priority": 1}
    body = {"apiVersion": API_VERSION, "kind": SLO_TIER.kind, "metadata": {"name": TIER}, "spec": spec}
    await cluster.request(Call("POST", SLO_TIER.path(), body=body))


async def create_fleet(cluster: Cluster, name: str, pods: int) -> None:
    """Apply one fleet."""
    await cluster.request(Call("POST", LLM_FLEET.path(NAMESPACE), body=fleet(name, pods)))


class PodWatch:
    """When each fleet got the last of its workers, on this process's clock."""

    def __init__(self, cluster: Cluster, pods_per_fleet: int) -> None:
        self._cluster = cluster
        self._wanted = pods_per_fleet
        self._pods: dict[str, str] = {}
        self._count: Counter[str] = Counter()
        self.complete_at: dict[str, float] = {}
        self.changed = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        query = {"labelSelector": WORKERS}
        while True:
            items, version = await self._cluster.list_all(POD.path(NAMESPACE), query)
            for item in items:
                self._note(item)
            try:
                async for event in self._cluster.watch(POD.path(NAMESPACE), query, version):
                    if event["type"] == "ADDED":
                        self._note(event["object"])
            except (ApiError, TimeoutError):
                continue

    async def until(self, names: Mapping[str, float] | set[str]) -> None:
        """Wait until all these fleets have their workers."""
        while not self.complete_at.keys() >= set(names):
            self.changed.clear()
            await self.changed.wait()

    def _note(self, pod: Mapping[str, Any]) -> None:
        metadata = pod["metadata"]
        if metadata["uid"] in self._pods:
            return
        fleet_name = metadata["labels"][LABEL_FLEET]
        self._pods[metadata["uid"]] = fleet_name
        self._count[fleet_name] += 1
        if self._count[fleet_name] == self._wanted:
            self.complete_at[fleet_name] = time.monotonic()
            self.changed.set()
