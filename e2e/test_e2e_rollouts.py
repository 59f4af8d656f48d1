"""Planned changes: gateways and workers are replaced under load, and no request fails."""

import asyncio
from collections.abc import Awaitable, Callable

from e2e_cluster import is_ready
from e2e_gateway import Gateway, reach
from e2e_house import KEYS, House
from e2e_manifests import POOL
from e2e_streams import assert_whole, open_stream, whole_answer
from e2e_waiting import eventually

ROLLED_SECONDS = 60
LAG_SECONDS = 0.5
"""So old may a client's picture of the ready gateways be, as with any load balancer."""

LONG = 1500
SAMPLED = {"temperature": 1, "seed": 5}


async def test_gateways_are_replaced_without_a_failed_request(house: House) -> None:
    """A stream that is open goes on at the old gateway, and new requests never find a closed door."""
    namespace, deployment = house.namespace, f"{house.fleet}-gateway"
    before = {pod["metadata"]["uid"] for pod in await namespace.gateways(house.fleet)}

    async def rolled() -> bool:
        pods = await namespace.every(
            "Pod", labels=f"tierline.dev/fleet={house.fleet},app.kubernetes.io/component=gateway"
        )
        return len(pods) == 1 and is_ready(pods[0]) and pods[0]["metadata"]["uid"] not in before

    async with reach(namespace, house.fleet) as gateway, gateway.client(KEYS["alice"]) as alice:
        stream = open_stream(alice, house.fleet, "a long story", LONG, **SAMPLED)
        await stream.until(20)
        await namespace.kubectl("rollout", "restart", "deployment", deployment)
        answered = await _ask_until(house, rolled)
        assert_whole(await stream.end(), LONG)
    assert answered >= 5
    await namespace.until_ready(house.fleet)


async def test_a_worker_is_drained_without_a_failed_request(house: House, gateway: Gateway) -> None:
    namespace = house.namespace
    await namespace.until_ready(house.fleet)
    async with gateway.client(KEYS["alice"]) as alice:
        streams = [open_stream(alice, house.fleet, f"saga {n}", LONG, **SAMPLED) for n in range(2)]
        await asyncio.gather(*(stream.until(20) for stream in streams))
        victim = (await gateway.requests())[0]["worker"]
        await namespace.delete("Pod", victim)

        async def gone() -> bool:
            return await namespace.get("Pod", victim) is None

        await eventually(gone, ROLLED_SECONDS, f"{victim} is gone")
        for stream in await asyncio.gather(*(stream.end() for stream in streams)):
            assert_whole(stream, LONG)
        again = await whole_answer(alice, house.fleet, streams[0].prompt, LONG, **SAMPLED)
        assert again.ids == streams[0].ids
    await namespace.until_ready_workers(house.fleet, 2, ROLLED_SECONDS)


async def test_new_settings_roll_over_the_workers_one_by_one(house: House) -> None:
    """There is always a worker that serves, and in the end all have the new settings."""
    namespace = house.namespace
    await namespace.until_ready(house.fleet)
    before = {pod["metadata"]["name"] for pod in await namespace.workers(house.fleet)}
    declared = (await namespace.found("LLMFleet", house.fleet))["spec"]["pools"]
    changed = [{**pool, "engine": {**pool["engine"], "maxRunningRequests": 6}} for pool in declared]
    await namespace.patch("LLMFleet", house.fleet, {"spec": {"pools": changed}})

    async def rolled() -> bool:
        pods = await namespace.workers(house.fleet)
        assert any(map(is_ready, pods)), "no worker serves during the rollout"
        # The questions are load: there may be more workers in the end than there were.
        wanted = (await namespace.found("WorkerPool", f"{house.fleet}-{POOL}"))["spec"]["replicas"]
        fresh = before.isdisjoint(it["metadata"]["name"] for it in pods)
        return fresh and len(pods) == wanted and all(map(is_ready, pods))

    assert await _ask_until(house, rolled) >= 5
    for pod in await namespace.workers(house.fleet):
        environment = {it["name"]: it.get("value") for it in pod["spec"]["containers"][0]["env"]}
        assert environment["TIERLINE_MAX_RUNNING_REQUESTS"] == "6"
    await namespace.until_ready(house.fleet)


async def _ask_until(house: House, done: Callable[[], Awaitable[bool]]) -> int:
    """Ask one short question after the other, at gateways known for `LAG_SECONDS`; return how many were answered."""
    loop = asyncio.get_running_loop()
    give_up_s, answered = loop.time() + ROLLED_SECONDS, 0
    while not await done():
        assert loop.time() < give_up_s, f"not rolled over in {ROLLED_SECONDS} s"
        known_until_s = loop.time() + LAG_SECONDS
        async with reach(house.namespace, house.fleet) as gateway, gateway.client(KEYS["bob"]) as bob:
            while loop.time() < known_until_s:
                assert_whole(await whole_answer(bob, house.fleet, "quick one", 4), 4)
                answered += 1
                await asyncio.sleep(LAG_SECONDS / 10)
    return answered
