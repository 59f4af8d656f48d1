"""Drills on a real API server: what is injected, undone and said; nothing happens to who has not allowed it."""

from dataclasses import replace

import pytest
from fake_pods import FakeGateways, quota
from operator_testing import eventually, fleet

from tierline_operator.cluster import Call
from tierline_operator.kinds import NODE, SECRET

pytestmark = pytest.mark.controlplane


async def ready_fleet(world, labels):
    declared = fleet("chat", world.name, (world.name,))
    await world.objects.create({**declared, "metadata": {**declared["metadata"], "labels": labels}})
    await world.objects.until("LLMFleet", "chat", "Ready", "True")


async def drill(world, kind, **spec):
    body = {"fleetRef": "chat", "kind": kind, "seconds": 2, "criteria": {"recoverySeconds": 40}, **spec}
    await world.objects.create(
        {"apiVersion": "tierline.dev/v1alpha1", "kind": "FleetDrill", "metadata": {"name": "d"}, "spec": body}
    )


ALLOWED = {"tierline.dev/drills": "allowed"}


async def notices(world):
    nodes = [await world.cluster.request(Call("GET", NODE.path(name=name))) for name in world.kubelet.nodes]
    taints = [taint for node in nodes for taint in node["spec"].get("taints", ())]
    return [taint for taint in taints if taint["key"] == "tierline.dev/spot-notice"]


async def until_announced(world):
    async def announced():
        return len(await notices(world)) == 1

    await eventually(announced, "the node bears the notice")


async def test_a_fleet_that_does_not_allow_drills_is_left_alone(world, start_operator):
    start_operator()
    await ready_fleet(world, {})
    await drill(world, "WorkerKill")
    injected = await world.objects.until("FleetDrill", "d", "Injected", "False", "NotAllowed")
    assert "tierline.dev/drills=allowed" in injected["message"]
    await world.objects.until_workers("chat-main-1", "chat-main-2")

    await world.objects.patch("LLMFleet", "chat", {"metadata": {"labels": ALLOWED}})
    await world.objects.until("FleetDrill", "d", "Passed", "True")
    await world.objects.until_workers("chat-main-2", "chat-main-3")
    status = (await world.objects.get("FleetDrill", "d"))["status"]
    assert status["target"] == "chat-main-1"
    assert status["recoverySeconds"] <= 40


async def test_an_announced_reclaim_is_survived_and_taken_back(world, start_operator):
    start_operator()
    await ready_fleet(world, ALLOWED)
    await world.kubelet.join(f"{world.name}-b")
    await drill(world, "SpotReclaim", seconds=12)
    await until_announced(world)
    await world.objects.until_workers("chat-main-3", "chat-main-4")
    await world.objects.until("FleetDrill", "d", "Passed", "True")
    assert await notices(world) == []


async def test_a_drill_that_is_deleted_is_undone(world, start_operator):
    start_operator()
    await ready_fleet(world, ALLOWED)
    await drill(world, "SpotReclaim", seconds=300)

    await until_announced(world)
    await world.objects.delete("FleetDrill", "d")

    async def undone():
        return await world.objects.get("FleetDrill", "d") is None and await notices(world) == []

    await eventually(undone, "the notice is gone with the drill")


async def test_the_leader_steps_down_and_the_next_one_judges(world, start_operator):
    elected = replace(world.settings, elects_leader=True)
    first = start_operator(elected)
    await ready_fleet(world, ALLOWED)
    second = start_operator(replace(elected, identity="operator-b"))
    assert not second.leads
    await drill(world, "OperatorDown")

    async def taken_over():
        return second.leads

    await eventually(taken_over, "the second replica leads")
    await world.objects.until("FleetDrill", "d", "Passed", "True")
    first.stop()
    await world.objects.until_workers("chat-main-1", "chat-main-2")


@pytest.fixture
async def gateways(world):
    world.kubelet.pod_ip = "127.77.5.1"
    running = await FakeGateways(world.kubelet.pod_ip, world.name, "drill").start()
    yield running
    await running.stop()


async def test_a_flood_comes_from_its_own_tenant_and_the_others_are_judged(world, start_operator, gateways):
    start_operator()
    await ready_fleet(world, ALLOWED)
    await world.objects.create(quota("flood", "drill", world.name))
    key = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "flood"}, "stringData": {"api-key": "k"}}
    await world.cluster.request(Call("POST", SECRET.path(world.name), body=key))
    tier = {"tierRef": world.name, "attainmentPercent": 90, "ttftMilliseconds": {"p95": 100}}
    flood = {"tenantQuotaRef": "flood", "requestsPerSecond": 20}
    await drill(world, "TenantFlood", flood=flood, criteria={"recoverySeconds": 40, "tiers": [tier]})
    await world.objects.until("FleetDrill", "d", "Injected", "False", "NotAllowed")
    assert gateways.completions == 0

    await world.objects.patch("TenantQuota", "flood", {"metadata": {"labels": ALLOWED}})
    await world.objects.until("FleetDrill", "d", "Injected", "True")
    gateways.instruments.requests.labels(world.name, "acme", "stop").inc(10)
    gateways.instruments.ttft.labels(world.name, "acme").observe(0.3)
    await world.objects.until("FleetDrill", "d", "Passed", "False", "NotKept")
    status = (await world.objects.get("FleetDrill", "d"))["status"]
    assert {it["name"]: it["outcome"] for it in status["checks"]} == {
        "recoverySeconds": "Kept",
        "failedRequests": "Kept",
        "lostTokens": "Kept",
        "duplicatedTokens": "Kept",
        f"{world.name}.attainmentPercent": "Kept",
        f"{world.name}.ttftMilliseconds.p95": "Broken",
        "floodRequests": "Kept",
    }
    (figures,) = status["figures"]
    assert figures["requests"] == 10
    assert gateways.completions >= status["flood"]["requests"] >= 20
