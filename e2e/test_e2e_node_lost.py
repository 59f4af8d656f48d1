"""Machines that die without notice, in the middle of streams."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from e2e_cluster import Json, is_ready
from e2e_gateway import Gateway, reach
from e2e_house import FAST, KEYS, SYSTEM
from e2e_manifests import POOL, fleet, quota, secret
from e2e_models import Models
from e2e_namespace import Namespace
from e2e_streams import Stream, assert_whole, open_stream, whole_answer
from e2e_waiting import HANGS_SECONDS, eventually
from openai import AsyncOpenAI

NAME, WORKERS = "stream", 3
MakeNamespace = Callable[[str], Awaitable[Namespace]]

TOKENS = 400
SAMPLED = {"temperature": 1, "seed": 11}
"""Sampled, since what a random model says greedily may repeat itself, which would hide tokens that repeat."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def namespace(make_namespace: MakeNamespace, models: Models) -> AsyncIterator[Namespace]:
    """Where a fleet on spot machines loses its workers."""
    room = await make_namespace("e2e-node-lost")
    declared = fleet(NAME, models.tiny, (FAST,), workers=WORKERS, placement={"spot": {"policy": "SpotOnly"}})
    await room.create(secret("alice", KEYS["alice"]), quota("alice", (FAST,)), declared)
    await room.until_ready(NAME)
    yield room
    await room.cluster.delete("Namespace", room.name)


@pytest.mark.virtualnodes
async def test_streams_outlive_the_machine_of_their_worker(namespace: Namespace) -> None:
    async with reach(namespace, NAME) as gateway, gateway.client(KEYS["alice"]) as alice:
        streams = [open_stream(alice, NAME, f"story {n}", TOKENS, **SAMPLED) for n in range(6)]
        system = await namespace.cluster.every("Pod", SYSTEM)
        spared = {gateway.node, *(str(pod["spec"].get("nodeName")) for pod in system)}
        victim = await _busy_worker(namespace, gateway, streams, spared)
        caught = await _streams_on(gateway, victim["metadata"]["name"])
        await namespace.cluster.kill_node(victim["spec"]["nodeName"])
        for stream in await asyncio.gather(*(stream.end() for stream in streams)):
            assert_whole(stream, TOKENS)
        await _assert_moved(gateway, caught, victim["metadata"]["name"])
        await _assert_as_undisturbed(alice, [stream for stream in streams if stream.request_id in caught])
    await eventually(lambda: _serve_without(namespace, victim), HANGS_SECONDS, "as many workers serve again")
    # Nobody is left on the machine to confirm the pod's end, until the cloud says that the machine is gone.
    await namespace.cluster.delete("Node", victim["spec"]["nodeName"])
    await eventually(lambda: _is_gone(namespace, victim), HANGS_SECONDS, "the lost worker's pod is gone")


async def test_streams_outlive_a_worker_killed_without_grace(namespace: Namespace) -> None:
    async with reach(namespace, NAME) as gateway, gateway.client(KEYS["alice"]) as alice:
        streams = [open_stream(alice, NAME, f"story {n}", TOKENS, **SAMPLED) for n in range(4)]
        victim = await _busy_worker(namespace, gateway, streams, set())
        name = victim["metadata"]["name"]
        caught = await _streams_on(gateway, name)
        await namespace.delete("Pod", name, grace_s=0)
        for stream in await asyncio.gather(*(stream.end() for stream in streams)):
            assert_whole(stream, TOKENS)
        await _assert_moved(gateway, caught, name)
        await _assert_as_undisturbed(alice, [stream for stream in streams if stream.request_id in caught])
    await eventually(lambda: _serve_without(namespace, victim), HANGS_SECONDS, "as many workers serve again")


async def test_the_only_worker_dies_and_the_stream_waits_for_the_next(namespace: Namespace) -> None:
    await namespace.patch("LLMFleet", NAME, {"spec": {"scaling": {"mode": "External"}}})
    await namespace.until_ready(NAME)
    await namespace.kubectl("scale", "wp", f"{NAME}-{POOL}", "--replicas=1")
    (victim,) = await namespace.until_ready_workers(NAME, 1, HANGS_SECONDS)
    async with reach(namespace, NAME) as gateway, gateway.client(KEYS["alice"]) as alice:
        stream = open_stream(alice, NAME, "all alone", TOKENS, **SAMPLED)
        await stream.until(20)
        await namespace.delete("Pod", victim["metadata"]["name"], grace_s=0)
        assert_whole(await stream.end(HANGS_SECONDS), TOKENS)
        await _assert_as_undisturbed(alice, [stream])


async def _serve_without(namespace: Namespace, victim: Json) -> bool:
    """Whether as many workers serve besides the lost one; the load of the streams may have called for one more."""
    others = [pod for pod in await namespace.workers(NAME) if pod["metadata"]["uid"] != victim["metadata"]["uid"]]
    return len(list(filter(is_ready, others))) >= WORKERS


async def _is_gone(namespace: Namespace, pod: Json) -> bool:
    return await namespace.get("Pod", pod["metadata"]["name"]) is None


async def _busy_worker(namespace: Namespace, gateway: Gateway, streams: list[Stream], spared: set[str]) -> Json:
    """Return a worker with streams mid-decode that is not on a spared machine."""
    await asyncio.gather(*(stream.until(20) for stream in streams))
    names = {request["worker"] for request in await gateway.requests()}
    pods = [pod for pod in await namespace.workers(NAME) if pod["metadata"]["name"] in names]
    return next(pod for pod in pods if pod["spec"]["nodeName"] not in spared)


async def _streams_on(gateway: Gateway, worker: str) -> list[str]:
    return [str(it["request_id"]) for it in await gateway.requests() if it["worker"] == worker]


async def _assert_moved(gateway: Gateway, request_ids: list[str], worker: str) -> None:
    assert request_ids
    for request_id in request_ids:
        moves = (await gateway.request(request_id))["moves"]
        assert [(move["from"], bool(move["to"])) for move in moves] == [(worker, True)]


async def _assert_as_undisturbed(client: AsyncOpenAI, streams: list[Stream]) -> None:
    """Ask for the same again, with nothing in the way: the ids have to be the same."""
    again = await asyncio.gather(*(whole_answer(client, NAME, it.prompt, TOKENS, **SAMPLED) for it in streams))
    for disturbed, undisturbed in zip(streams, again, strict=True):
        assert disturbed.ids == undisturbed.ids
