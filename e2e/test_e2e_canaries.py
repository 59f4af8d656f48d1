"""Canaries under real requests: a good change is followed by all, a bad one is taken back, and no client notices."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio
from e2e_cluster import Json, condition_of
from e2e_gateway import Gateway, reach
from e2e_house import FAST, KEYS
from e2e_manifests import POOL, fleet, quota, secret
from e2e_models import Models
from e2e_namespace import Namespace
from e2e_streams import assert_whole, whole_answer
from e2e_waiting import HANGS_SECONDS, eventually

from tierline.api.names import LABEL_REVISION

NAME = "trying"
MakeNamespace = Callable[[str], Awaitable[Namespace]]

AT_ONCE, TOKENS = 4, 8
PAUSE_SECONDS = 0.2
"""Between one round of questions and the next: without one, clients take the processors of workers that start."""

DECIDED_SECONDS = 2 * HANGS_SECONDS
ROLLOUT = {"canaryPercent": 50, "holdSeconds": 0, "analysis": {"minRequests": 10}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def namespace(make_namespace: MakeNamespace, models: Models) -> AsyncIterator[Namespace]:
    """Where a fleet tries its changes, with a model whose KV cache Float16 does not hold."""
    room = await make_namespace("e2e-canaries")
    declared = fleet(NAME, models.loud, (FAST,), rollout=ROLLOUT)
    await room.create(secret("alice", KEYS["alice"]), quota("alice", (FAST,)), declared)
    await room.until_ready(NAME)
    yield room
    await room.cluster.delete("Namespace", room.name)


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(namespace: Namespace) -> AsyncIterator[Gateway]:
    async with reach(namespace, NAME) as door:
        yield door


async def test_a_change_whose_canaries_serve_well_is_followed_by_all(namespace: Namespace, gateway: Gateway) -> None:
    before = await _revisions(namespace)
    await namespace.patch("LLMFleet", NAME, {"spec": {"drainSeconds": 2}})
    told = await _decided_under_requests(namespace, gateway)
    assert told["status"] == "True", told
    assert before.isdisjoint(await _revisions(namespace))


async def test_a_change_whose_canaries_fail_their_requests_is_taken_back(
    namespace: Namespace, gateway: Gateway
) -> None:
    """The canaries load the model and are ready, and then their numbers overflow in every request."""
    before = await _revisions(namespace)
    await namespace.patch("LLMFleet", NAME, {"spec": {"model": {"dtype": "Float16"}}})
    told = await _decided_under_requests(namespace, gateway)
    assert told["reason"] == "RolledBack", told
    assert "requests on canaries missed or failed" in told["message"]

    async def only_the_old() -> bool:
        return await _revisions(namespace) == before

    await eventually(only_the_old, DECIDED_SECONDS, "the workers are of the old revision again")


async def _decided_under_requests(namespace: Namespace, gateway: Gateway) -> Json:
    """Ask until the change is decided; every answer has to be whole. Returns the condition RolledOut."""
    loop = asyncio.get_running_loop()
    give_up_s, asked = loop.time() + DECIDED_SECONDS, 0
    async with gateway.client(KEYS["alice"]) as alice:
        while (told := await _rolled_out(namespace)).get("status") != "True" and told.get("reason") != "RolledBack":
            assert loop.time() < give_up_s, f"not decided in {DECIDED_SECONDS} s: {told}"
            questions = (f"question {asked + n}" for n in range(AT_ONCE))
            for answer in await asyncio.gather(*(whole_answer(alice, NAME, it, TOKENS) for it in questions)):
                assert_whole(answer, TOKENS)
            asked += AT_ONCE
            await asyncio.sleep(PAUSE_SECONDS)
    assert asked >= ROLLOUT["analysis"]["minRequests"]
    return told


async def _rolled_out(namespace: Namespace) -> Json:
    """Return the fleet's condition RolledOut once it speaks of the present spec."""
    obj = await namespace.found("LLMFleet", NAME)
    told = condition_of(obj, "RolledOut")
    return told if told.get("observedGeneration") == obj["metadata"]["generation"] else {}


async def _revisions(namespace: Namespace) -> set[str]:
    return {pod["metadata"]["labels"][LABEL_REVISION] for pod in await namespace.pool_workers(f"{NAME}-{POOL}")}
