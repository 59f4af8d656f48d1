"""Fleets on a real API server: what the operator makes of them, keeps of them, and leaves behind."""

import pytest
from operator_testing import eventually, fleet

pytestmark = pytest.mark.controlplane


async def test_a_fleet_becomes_pools_workers_and_a_gateway(world, start_operator):
    start_operator()
    await world.objects.create(fleet("chat", world.name, (world.name,)))

    async def ready():
        condition = await world.objects.condition("LLMFleet", "chat", "Ready")
        return condition and condition["status"] == "True"

    await eventually(ready, "the fleet is ready")
    assert [pod["metadata"]["name"] for pod in await world.objects.workers()] == ["chat-main-1", "chat-main-2"]
    live = await world.objects.get("LLMFleet", "chat")
    assert live["status"]["replicas"] == live["status"]["readyReplicas"] == 2
