"""Two installs in one cluster, each with namespaces of its own, share the tiers and do not fight over them."""

import asyncio
import time
from dataclasses import replace

import pytest
from operator_testing import eventually, fleet

from tierline_operator.cluster import Call
from tierline_operator.kinds import SLO_TIER

pytestmark = pytest.mark.controlplane

QUIET_SECONDS = 3.0


async def test_installs_agree_about_tiers_and_leave_each_others_fleets_alone(world, start_operator):
    ours = start_operator()
    theirs = start_operator(replace(world.settings, identity="other", namespaces=("default",), lease_name="other"))
    await world.objects.create(fleet("chat", world.name, (world.name,)))
    await world.objects.until("LLMFleet", "chat", "Ready", "True")

    async def both_look():
        return ours.looks("Policy") and theirs.looks("Policy")

    await eventually(both_look, "both looked at the tier")

    async def version():
        tier = await world.cluster.request(Call("GET", SLO_TIER.path(name=world.name)))
        return tier["metadata"]["resourceVersion"]

    before, until = await version(), time.monotonic() + QUIET_SECONDS
    while time.monotonic() < until:
        assert await version() == before, "nobody writes what the other one has written"
        await asyncio.sleep(0.2)
    assert theirs.looks("LLMFleet") == 0
    await world.objects.until_workers("chat-main-1", "chat-main-2")
