"""Installs of two versions share a tier: one writes, the other takes over only from one that is gone."""

import pytest
from api_server_in_memory import ApiServerInMemory, wired

from tierline_operator.adapter_reconciling import AdapterSights
from tierline_operator.kinds import SLO_TIER
from tierline_operator.policy_status import PolicyStatus
from tierline_operator.tier_writer import BEHIND_MS, DIFFERENT_MS

START_MS = 1_800_000_000_000
PATH = SLO_TIER.path(name="gold")


class World:
    def __init__(self):
        self.server = ApiServerInMemory()
        self.now_ms = START_MS
        self.declare(1)

    def install(self, name):
        """Return a new operator of an install, which remembers nothing."""
        _, self.stores, actuator = wired(self.server)
        return PolicyStatus(self.stores, actuator, AdapterSights(), name, clock=lambda: self.now_ms)

    def declare(self, generation):
        held = self.server.objects.get(PATH, {})
        metadata = {**held.get("metadata", {}), "name": "gold", "generation": generation}
        spec = {"objective": "Cost", "priority": generation}
        tier = {"apiVersion": "tierline.dev/v1alpha1", "kind": "SLOTier", "metadata": metadata, "spec": spec}
        self.server.put({**held, **tier})

    def another_version_says(self, message):
        live = self.server.objects[PATH]
        conditions = [{**it, "message": message} for it in live["status"]["conditions"]]
        self.server.put({**live, "status": {**live["status"], "conditions": conditions}})

    async def look(self, name):
        return await self.install(name).look()

    def status(self):
        return self.server.objects[PATH]["status"]


@pytest.fixture
async def world():
    world = World()
    await world.look("a/operator")
    return world


async def test_who_writes_first_goes_on_writing(world):
    assert world.status()["writer"] == "a/operator"
    before = world.server.version
    assert await world.look("b/operator") is None
    assert world.server.version == before
    world.declare(2)
    await world.look("a/operator")
    assert world.status()["observedGeneration"] == 2


async def other_sees(world, after_ms):
    """Let one operator of the other install look now and again later; returns when it wanted to come back."""
    other = world.install("b/operator")
    due = await other.look()
    world.now_ms += after_ms
    await other.look()
    return due


@pytest.mark.parametrize(("after_ms", "writer"), [(BEHIND_MS - 1, "a/operator"), (BEHIND_MS, "b/operator")])
async def test_a_status_that_stays_behind_its_spec_is_taken_over(world, after_ms, writer):
    world.declare(2)
    assert await other_sees(world, after_ms) == BEHIND_MS / 1000
    assert world.status()["writer"] == writer


@pytest.mark.parametrize(("after_ms", "writer"), [(DIFFERENT_MS - 1, "a/operator"), (DIFFERENT_MS, "b/operator")])
async def test_opinions_that_differ_are_no_fight(world, after_ms, writer):
    world.another_version_says("As an older version puts it.")
    assert await other_sees(world, after_ms) == DIFFERENT_MS / 1000
    assert world.status()["writer"] == writer


async def test_time_counts_from_when_the_spec_was_last_changed(world):
    other = world.install("b/operator")
    for generation in (2, 3):
        world.declare(generation)
        world.stores.note(world.server.objects[PATH])
        await other.look()
        world.now_ms += BEHIND_MS - 1
    assert world.status()["writer"] == "a/operator"
