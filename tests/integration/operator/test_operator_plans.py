"""Fleets follow their load, their spot capacity and each other, against a real API server and scheduler."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from fake_prometheus import FakePrometheus
from operator_testing import eventually, fleet, is_ready, tier

from tierline.api.names import API_VERSION, DRILLS_ALLOWED, LABEL_DRILLS, TAINT_SPOT_NOTICE
from tierline.fleet.scaling.sharing import SharingTimes
from tierline_operator.cluster import MERGE_PATCH, Call
from tierline_operator.kinds import NODE, SLO_TIER
from tierline_operator.settings import PlanningTimes

pytestmark = pytest.mark.controlplane

QUICK = PlanningTimes(0.3, look_back_seconds=2.0, silence_seconds=1.5, sharing=SharingTimes(1_000, 1_000))
SCALING = {"stabilizationSeconds": 1, "scaleToZeroIdleSeconds": 10}


@pytest.fixture
async def prometheus(world) -> AsyncIterator[FakePrometheus]:
    world.kubelet.pod_ip = "127.0.0.1"
    server = await FakePrometheus(world.objects, world.name).start()
    yield server
    await server.stop()


def pools(world, low=1, high=6, **more):
    return [{"name": "main", "replicas": {"min": low, "max": high}, "accelerator": world.name, **more}]


async def replicas(world, fleet_name="chat"):
    pool = await world.objects.get("WorkerPool", f"{fleet_name}-main")
    return pool["spec"].get("replicas") if pool else None


async def until_replicas(world, low, high, fleet_name="chat", seconds=30.0):
    async def there():
        count = await replicas(world, fleet_name)
        return count is not None and low <= count <= high

    await eventually(there, f"{low} to {high} replicas of {fleet_name}", seconds)


async def stays(look, seconds):
    """Fail if what `look` returns changes within a time: the window in which nothing may happen."""
    before, end = await look(), time.monotonic() + seconds
    while time.monotonic() < end:
        assert await look() == before
        await asyncio.sleep(0.1)


async def test_replicas_follow_the_load_up_and_down_and_hold_still_when_nobody_tells(world, start_operator, prometheus):
    start_operator(replace(world.settings, planning=QUICK, prometheus_url=prometheus.url))
    await world.objects.create(fleet("chat", world.name, (world.name,), pools=pools(world), scaling=SCALING))
    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    prometheus.send(14.0)
    await until_replicas(world, 2, 6)
    await world.objects.until("LLMFleet", "chat", "Scaled", "True")
    prometheus.send(1.0)
    await until_replicas(world, 1, 1, seconds=60.0)

    prometheus.send(30.0)
    await prometheus.stop()
    silent = await world.objects.until("LLMFleet", "chat", "Scaled", "False", "SignalsSilent")
    assert "Prometheus" in silent["message"]
    await world.objects.until("LLMFleet", "chat", "Degraded", "True", "SignalsSilent")
    await stays(lambda: replicas(world), 2.0)
    await world.objects.until_events("SignalsSilent", "LLMFleet", 1)


async def test_where_the_weights_are_stands_in_the_status_and_the_next_worker_prefers_those_nodes(
    world, start_operator, prometheus
):
    source = fleet("chat", world.name, (world.name,))["spec"]["model"]["source"]
    prometheus.of_workers = [("tierline_worker_cached_weights_bytes", {"source": source}, 98e6)]
    start_operator(replace(world.settings, planning=QUICK, prometheus_url=prometheus.url))
    await world.objects.create(fleet("chat", world.name, (world.name,), pools=pools(world), scaling=SCALING))
    await world.objects.until("LLMFleet", "chat", "Ready", "True")

    async def told():
        live = await world.objects.get("LLMFleet", "chat")
        return live is not None and live["status"].get("weights", {}).get("mebibytes") == 94

    await eventually(told, "the weights in the fleet's status", 20.0)
    prometheus.send(14.0)
    await until_replicas(world, 2, 6)

    async def preferred():
        workers = await _workers(world)
        holder = next((pod["spec"]["nodeName"] for pod in workers if pod["metadata"]["name"] == "chat-main-1"), "")
        later = [pod for pod in workers if pod["metadata"]["name"] != "chat-main-1"]
        return bool(later) and all(holder in _preferred_hosts(pod) and pod["spec"].get("nodeName") for pod in later)

    await eventually(preferred, "later workers that prefer the node, and are bound", 20.0)


def _preferred_hosts(pod):
    node = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    terms = [it["preference"] for it in node.get("preferredDuringSchedulingIgnoredDuringExecution", ())]
    return [host for term in terms for it in term["matchExpressions"] for host in it["values"]]


async def test_a_decode_worker_that_can_be_spared_becomes_a_prefill_worker_in_place(world, start_operator, prometheus):
    """Prompts cost a prefill worker 110 ms and a decode worker 1 ms: three of the latter are two too many."""
    start_operator(replace(world.settings, planning=QUICK, prometheus_url=prometheus.url))
    phases = [
        {**pools(world, high=4)[0], "name": role.lower(), "role": role, "resources": {"gpu": 1}}
        for role in ("Prefill", "Decode")
    ]
    patient = {"stabilizationSeconds": 120}
    await world.objects.create(fleet("chat", world.name, (world.name,), pools=phases, scaling=patient))
    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    await world.objects.until("LLMFleet", "chat", "Scaled", "True")
    await world.objects.patch("WorkerPool", "chat-decode", {"spec": {"replicas": 3}}, "scale")

    async def four():
        return len(await _workers(world)) == 4 and all(map(_is_ready, await _workers(world)))

    await eventually(four, "four ready workers", 30.0)
    before = {pod["metadata"]["uid"] for pod in await _workers(world)}
    prometheus.send(8.0)

    async def flipped():
        pods = [pod["metadata"] for pod in await _workers(world)]
        return any(
            it["labels"]["tierline.dev/role"] == "Prefill" and it["name"].startswith("chat-decode") for it in pods
        )

    await eventually(flipped, "a decode worker with the other role", 30.0)

    async def same_workers():
        return {pod["metadata"]["uid"] for pod in await _workers(world)}

    await stays(same_workers, 1.5)
    assert await same_workers() == before
    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    owners = {
        (await world.objects.get("WorkerPool", f"chat-{it}"))["metadata"]["uid"]: it for it in ("prefill", "decode")
    }
    for pod in await _workers(world):
        labels = pod["metadata"]["labels"]
        assert owners[pod["metadata"]["ownerReferences"][0]["uid"]] == labels["tierline.dev/role"].lower()


async def _workers(world):
    pods = await world.objects.every("Pod")
    return [pod for pod in pods if "tierline.dev/pool" in pod["metadata"]["labels"]]


def _is_ready(pod):
    return any(it["type"] == "Ready" and it["status"] == "True" for it in pod.get("status", {}).get("conditions", ()))


async def test_an_idle_fleet_goes_to_zero_and_a_request_that_waits_wakes_it(world, start_operator, prometheus):
    start_operator(replace(world.settings, planning=QUICK, prometheus_url=prometheus.url))
    idle = fleet("chat", world.name, (world.name,), pools=pools(world, low=0, high=2), scaling=SCALING)
    await world.objects.create(idle)
    await until_replicas(world, 0, 0)
    prometheus.queued = 1
    await until_replicas(world, 1, 1)
    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    await stays(lambda: replicas(world), 1.5)


async def test_a_blackout_of_prometheus_is_bridged_by_the_pods_themselves(world, start_operator, prometheus):
    world.kubelet.pod_ip = "127.77.6.1"
    await prometheus.serve_as_pods(world.kubelet.pod_ip)
    start_operator(replace(world.settings, planning=QUICK, prometheus_url=prometheus.url))
    declared = fleet("chat", world.name, (world.name,), pools=pools(world), scaling=SCALING)
    labels = {LABEL_DRILLS: DRILLS_ALLOWED}
    await world.objects.create({**declared, "metadata": {**declared["metadata"], "labels": labels}})
    prometheus.send(1.0)
    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    await world.objects.until("LLMFleet", "chat", "Scaled", "True", "FollowsLoad")

    spec = {"fleetRef": "chat", "kind": "MetricsBlackout", "seconds": 300}
    blackout = {"apiVersion": API_VERSION, "kind": "FleetDrill", "metadata": {"name": "blackout"}, "spec": spec}
    await world.objects.create(blackout)
    bridged = await world.objects.until("LLMFleet", "chat", "Scaled", "True", "FollowsLoadByFallback")
    assert "Signals come from pods, for Prometheus does not tell" in bridged["message"]
    prometheus.send(14.0)
    await until_replicas(world, 2, 6)
    await world.objects.until_events("FollowsLoadByFallback", "LLMFleet", 1)


async def test_a_reclaimed_spot_worker_comes_back_in_another_zone(world, start_operator):
    spot = {f"{world.name}-b", f"{world.name}-c"}
    for name in sorted(spot):
        await world.kubelet.join(name, "spot")
    start_operator(replace(world.settings, planning=QUICK))
    placement = {"spot": {"policy": "PreferSpot"}}
    await world.objects.create(
        fleet("chat", world.name, (world.name,), pools=pools(world, high=1), placement=placement)
    )

    async def on_spot(other_than=""):
        """The fleet's one worker, once it is on a spot node and no stand-in is left."""
        workers = await world.objects.workers()
        nodes = [pod["spec"].get("nodeName") for pod in workers if is_ready(pod)]
        settled = len(workers) == len(nodes) == 1 and nodes[0] in spot - {other_than}
        return nodes[0] if settled else None

    first = await eventually(on_spot, "one worker on spot", 30.0)
    await stays(on_spot, 1.5)
    taint = {"key": TAINT_SPOT_NOTICE, "value": str(int(time.time()) + 12), "effect": "NoSchedule"}
    path = NODE.path(name=first)
    await world.cluster.request(Call("PATCH", path, body={"spec": {"taints": [taint]}}, content_type=MERGE_PATCH))
    second = await eventually(lambda: on_spot(other_than=first), "one worker in the other zone", 40.0)
    assert second != first
    await world.objects.until("LLMFleet", "chat", "Placed", "True", "AsPlanned")


@pytest.fixture
async def gold(world) -> AsyncIterator[str]:
    """A tier above the world's own one."""
    name = f"{world.name}-gold"
    spec = {"objective": "Latency", "priority": 100, "spot": "Allow"}
    await world.cluster.request(Call("POST", SLO_TIER.path(), body={**tier(name), "spec": spec}))
    yield name
    await world.cluster.request(Call("DELETE", SLO_TIER.path(name=name)))


async def test_a_lower_tier_gives_accelerators_and_gets_them_back(world, start_operator, gold):
    """The node has 64 accelerators; a worker takes 16."""
    start_operator(replace(world.settings, planning=QUICK))
    sized = {"resources": {"gpu": 16}}
    await world.objects.create(fleet("batch", world.name, (world.name,), pools=pools(world, high=4, **sized)))
    await until_replicas(world, 1, 1, "batch")
    await world.objects.patch("WorkerPool", "batch-main", {"spec": {"replicas": 4}}, "scale")
    await world.objects.until("LLMFleet", "batch", "Ready", "True")
    await stays(lambda: replicas(world, "batch"), 2.0)

    await world.objects.create(fleet("urgent", world.name, (gold,), pools=pools(world, low=2, high=2, **sized)))
    await world.objects.until("LLMFleet", "urgent", "Ready", "True")
    assert await replicas(world, "batch") == 2
    await stays(lambda: replicas(world, "batch"), 2.0)
    await world.objects.delete("LLMFleet", "urgent")
    await until_replicas(world, 4, 4, "batch")
    await world.objects.until("LLMFleet", "batch", "Ready", "True")
