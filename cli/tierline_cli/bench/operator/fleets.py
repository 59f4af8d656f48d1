"""Many small fleets of one tier."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from tierline.api.names import API_VERSION
from tierline_operator.cluster import Call, Cluster
from tierline_operator.kinds import LLM_FLEET, SLO_TIER

NAMESPACE = "default"
TIER = "bench"
AT_ONCE = 16


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


async def create_fleets(cluster: Cluster, names: Iterable[str], pods: int, created: Callable[[str], None]) -> None:
    """Apply many, `AT_ONCE` at a time; each that is there is told to `created`."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def create(name: str) -> None:
        async with gate:
            await create_fleet(cluster, name, pods)
        created(name)

    await asyncio.gather(*(create(name) for name in names))
