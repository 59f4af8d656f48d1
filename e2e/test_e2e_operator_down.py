"""The operator dies, or is not there at all: nothing is done twice, and the data plane does not need it."""

import asyncio

from e2e_cluster import Cluster, Json
from e2e_gateway import reach
from e2e_house import KEYS, OPERATOR, SYSTEM, House
from e2e_manifests import POOL
from e2e_streams import assert_whole, open_stream
from e2e_waiting import HANGS_SECONDS, consistently, eventually

TOKENS = 1000


async def test_the_leader_killed_while_scaling(house: House) -> None:
    """The other one finishes the work, and no worker exists twice."""
    namespace, cluster = house.namespace, house.namespace.cluster
    await namespace.until_ready(house.fleet)
    leader = await _leader(cluster)
    await namespace.kubectl("scale", "wp", f"{house.fleet}-{POOL}", "--replicas=4")
    await cluster.delete("Pod", leader, SYSTEM, grace_s=0)
    grown = await namespace.until_ready_workers(house.fleet, 4, HANGS_SECONDS)
    names = [pod["metadata"]["name"] for pod in grown]
    assert len(set(names)) == 4
    await consistently(lambda: _worker_names(house), 2, "the workers after the takeover")
    assert await _leader(cluster) != leader
    await namespace.kubectl("scale", "wp", f"{house.fleet}-{POOL}", "--replicas=2")
    await namespace.until_ready_workers(house.fleet, 2, HANGS_SECONDS)
    await _scale_operator(cluster, 2)


async def test_without_an_operator_streams_still_survive(house: House) -> None:
    """No operator: a worker dies, its streams go on, nothing is replaced; with it, everything is repaired."""
    namespace, cluster = house.namespace, house.namespace.cluster
    await namespace.until_ready(house.fleet)
    await _scale_operator(cluster, 0)
    async with reach(namespace, house.fleet) as gateway, gateway.client(KEYS["alice"]) as alice:
        streams = [open_stream(alice, house.fleet, f"tale {n}", TOKENS, temperature=1, seed=3) for n in range(4)]
        await asyncio.gather(*(stream.until(20) for stream in streams))
        victim = (await gateway.requests())[0]["worker"]
        await namespace.delete("Pod", victim, grace_s=0)
        for stream in await asyncio.gather(*(stream.end() for stream in streams)):
            assert_whole(stream, TOKENS)
        await consistently(lambda: _worker_names(house), 5, "the workers while no operator runs")
        assert victim not in await _worker_names(house)
        assert len(await _worker_names(house)) == 1
        assert_whole(await open_stream(alice, house.fleet, "and now?", 10).end(), 10)
    await _scale_operator(cluster, 2)
    await namespace.until_ready_workers(house.fleet, 2, HANGS_SECONDS)
    await namespace.until_ready(house.fleet)


async def _worker_names(house: House) -> list[str]:
    return [pod["metadata"]["name"] for pod in await house.namespace.workers(house.fleet)]


async def _leader(cluster: Cluster) -> str:
    """Return the pod that holds the Lease and exists."""

    async def look() -> str:
        lease: Json = await cluster.get("Lease", OPERATOR, SYSTEM) or {}
        holder = str(lease.get("spec", {}).get("holderIdentity") or "")
        pods = [pod["metadata"]["name"] for pod in await cluster.every("Pod", SYSTEM)]
        return next((pod for pod in pods if pod in holder), "")

    return await eventually(look, HANGS_SECONDS, "an operator leads")


async def _scale_operator(cluster: Cluster, replicas: int) -> None:
    await cluster.patch("Deployment", OPERATOR, {"spec": {"replicas": replicas}}, SYSTEM)

    async def settled() -> bool:
        deployment: Json = await cluster.get("Deployment", OPERATOR, SYSTEM) or {}
        pods = await cluster.every("Pod", SYSTEM)
        return len(pods) == replicas == int(deployment["status"].get("readyReplicas", 0))

    await eventually(settled, HANGS_SECONDS, f"{replicas} operators run")
