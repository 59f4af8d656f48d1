"""One gateway for two fleets on a real API server: who says what, and who is woken by whose changes."""

import pytest
from operator_testing import fleet

pytestmark = pytest.mark.controlplane


async def test_a_fleet_without_gateways_is_available_through_another_ones(world, start_operator):
    start_operator()
    objects, tiers = world.objects, (world.name,)
    await objects.create(fleet("code", world.name, tiers, gateway={"replicas": 0}))
    told = await objects.until("LLMFleet", "code", "Available", "False", "NoGateway")
    assert "spec.gateway.fleetRefs of another one" in told["message"]

    await objects.create(fleet("chat", world.name, tiers, gateway={"fleetRefs": ["code", "voice"]}))
    await objects.until("LLMFleet", "code", "Ready", "True")
    await objects.until("LLMFleet", "chat", "Ready", "True")
    told = await objects.until("LLMFleet", "chat", "FleetsResolved", "False", "FleetNotFound")
    assert "spec.gateway.fleetRefs[1] names the LLMFleet 'voice'" in told["message"]
    assert (await objects.get("Deployment", "code-gateway"))["spec"]["replicas"] == 0

    await objects.create(fleet("voice", world.name, tiers, model={"source": "/models/tiny", "servedName": "code"}))
    told = await objects.until("LLMFleet", "chat", "FleetsResolved", "False", "ModelNameTaken")
    assert "the model of fleet 'voice' has the name of that of 'code'" in told["message"]
    await objects.patch("LLMFleet", "voice", {"spec": {"model": {"servedName": "voice"}}})
    await objects.until("LLMFleet", "chat", "FleetsResolved", "True", "AllServed")

    await objects.patch("LLMFleet", "chat", {"spec": {"gateway": {"fleetRefs": ["voice"]}}})
    await objects.until("LLMFleet", "code", "Available", "False", "NoGateway")
