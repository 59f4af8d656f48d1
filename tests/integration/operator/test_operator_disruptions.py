"""What may go wrong around a fleet: lost nodes, reclaimed nodes, a dying operator, a dying leader, a sick server."""

import asyncio
import time
from dataclasses import replace

import aiohttp
import pytest
from operator_testing import eventually, fleet, is_ready

from tierline_operator.cluster import MERGE_PATCH, ApiError, Call, Cluster
from tierline_operator.kinds import NODE

pytestmark = pytest.mark.controlplane


class FrozenAfter(Cluster):
    """A client whose process stops dead after some writes: nothing is answered any more."""

    def __init__(self, kubeconfig, writes):
        super().__init__(kubeconfig)
        self.left = writes
        self.froze = False

    async def request(self, call):
        if call.method != "GET":
            if self.left == 0:
                self.froze = True
            self.left -= 1
        if self.froze:
            await asyncio.Event().wait()
        return await super().request(call)


class Unreliable(Cluster):
    """A client that loses some answers: of requests that were never seen, and of requests that were carried out."""

    def __init__(self, kubeconfig):
        super().__init__(kubeconfig)
        self.count = 0

    async def once(self, call):
        self.count += 1
        if self.count % 3 == 0:
            raise ApiError(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        answer = await super().once(call)
        if self.count % 5 == 0:
            raise aiohttp.ServerDisconnectedError
        return answer


async def start_ready_fleet(world, start_operator, **spec):
    operator = start_operator()
    await world.objects.create(fleet("chat", world.name, (world.name,), **spec))
    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    return operator


def workers_seen(world):
    return sorted(name for name in world.kubelet.pods_seen.values() if name.startswith("chat-main-"))


async def taint(world, node, deadline_ms):
    taints = [{"key": "tierline.dev/spot-notice", "value": str(deadline_ms // 1000), "effect": "NoSchedule"}]
    change = {"spec": {"taints": taints}}
    await world.cluster.request(Call("PATCH", NODE.path(name=node), body=change, content_type=MERGE_PATCH))


@pytest.mark.parametrize("writes", [1, 2, 4, 6, 7, 8, 9, 10])
async def test_an_operator_that_dies_after_any_write_leaves_no_doubles(world, start_operator, writes):
    clients = []

    def connect():
        clients.append(FrozenAfter(world.kubeconfig, writes))
        return clients[-1]

    dying = start_operator(connect=connect)
    await world.objects.create(fleet("chat", world.name, (world.name,)))

    async def frozen():
        return clients[0].froze

    await eventually(frozen, f"the operator stops at write {writes + 1}")
    dying.stop()
    start_operator()

    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    assert len(await world.objects.workers()) == 2
    seen = workers_seen(world)
    assert len(seen) == len(set(seen)) == 2, "every worker that was ever made is one of the two wanted"


async def test_an_unreliable_api_server_costs_time_and_nothing_else(world, start_operator):
    start_operator(connect=lambda: Unreliable(world.kubeconfig))
    await world.objects.create(fleet("chat", world.name, (world.name,)))

    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    await world.objects.patch("WorkerPool", "chat-main", {"spec": {"replicas": 4}}, "scale")

    async def scaled():
        pods = await world.objects.workers()
        return len(pods) == 4 and all(is_ready(pod) for pod in pods)

    await eventually(scaled, "four workers")


async def test_the_next_replica_takes_over_at_once_and_repeats_nothing(world, start_operator):
    elected = replace(world.settings, elects_leader=True, lease_seconds=40.0)
    first = start_operator(elected)
    await world.objects.create(fleet("chat", world.name, (world.name,)))
    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    second = start_operator(replace(elected, identity="operator-b"))
    assert first.leads
    assert not second.leads

    first.stop()

    async def led():
        return second.leads

    # The waiting replica asks every seventh of the duration: long before it may take a lease that was not released.
    await eventually(led, "the second replica leads", seconds=elected.lease_seconds * 2 / 3)
    await world.objects.patch("WorkerPool", "chat-main", {"spec": {"replicas": 3}}, "scale")
    await world.objects.until_workers("chat-main-1", "chat-main-2", "chat-main-3")


async def test_a_silent_leader_is_replaced(world, start_operator):
    elected = replace(world.settings, elects_leader=True)
    clients = []

    def connect():
        clients.append(FrozenAfter(world.kubeconfig, 10_000))
        return clients[-1]

    first = start_operator(elected, connect)

    async def first_leads():
        return first.leads

    await eventually(first_leads, "the first replica leads")
    second = start_operator(replace(elected, identity="operator-b"))
    clients[0].left = 0

    async def second_leads():
        return second.leads

    await eventually(second_leads, "the second replica leads")
    first.stop()


async def test_a_worker_leaves_a_spot_node_before_it_is_reclaimed(world, start_operator):
    await start_ready_fleet(world, start_operator)
    await world.kubelet.join(f"{world.name}-b")
    deadline_ms = (int(time.time()) + 16) * 1000

    await taint(world, f"{world.name}-a", deadline_ms)

    async def evacuating():
        pods = {pod["metadata"]["name"]: pod for pod in await world.objects.workers()}
        told = [pods[name]["metadata"]["annotations"].get("tierline.dev/evacuate-by") for name in list(pods)[:2]]
        replaced = [pod["spec"].get("nodeName") for pod in list(pods.values())[2:] if is_ready(pod)]
        return told == [str(deadline_ms)] * 2 and replaced == [f"{world.name}-b"] * 2

    await eventually(evacuating, "both workers are told, and both replacements are ready elsewhere")
    await world.objects.until_workers("chat-main-3", "chat-main-4")
    assert time.time() * 1000 < deadline_ms


async def test_a_lost_node_costs_its_workers_and_no_more(world, start_operator):
    await start_ready_fleet(world, start_operator)
    await world.kubelet.join(f"{world.name}-b")

    world.kubelet.nodes.remove(f"{world.name}-a")
    await world.cluster.request(Call("DELETE", NODE.path(name=f"{world.name}-a")))

    await world.objects.until_workers("chat-main-3", "chat-main-4")
    assert workers_seen(world) == ["chat-main-1", "chat-main-2", "chat-main-3", "chat-main-4"]
