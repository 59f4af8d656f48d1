"""A drill that runs: it is not over before the fleet has noticed its fault, and ends when it is no longer allowed."""

from crashing_operator import CrashWorld

from tierline_operator.kinds import FLEET_DRILL, LLM_FLEET

FLEET = {
    "model": {"source": "/models/tiny"},
    "tierRefs": ["gold"],
    "pools": [{"name": "main", "replicas": {"min": 2, "max": 2}}],
}


async def drilled():
    """A fleet of which a drill has just deleted a worker."""
    world = CrashWorld()
    world.put("LLMFleet", "chat", FLEET)
    await world.until_quiet()
    allow(world, {"tierline.dev/drills": "allowed"})
    world.put("FleetDrill", "kill", {"fleetRef": "chat", "kind": "WorkerKill"})
    await world._drill(world.server, "kill")
    return world


def allow(world, labels):
    (fleet,) = world.server.of_kind("LLMFleet")
    world.server.put({**fleet, "metadata": {**fleet["metadata"], "labels": labels}})


async def test_a_drill_that_is_no_longer_allowed_ends():
    world = await drilled()
    allow(world, {})
    await world._drill(world.server, "kill")
    status = world.server.objects[FLEET_DRILL.path("demo", "kill")]["status"]
    (passed,) = [it for it in status["conditions"] if it["type"] == "Passed"]
    assert (passed["status"], "finished" in status) == ("False", True)
    assert "does not bear the label tierline.dev/drills=allowed" in passed["message"]


async def test_a_fleet_whose_condition_still_says_ready_has_yet_to_replace_its_worker():
    world = await drilled()
    assert len(world.workers()) == 1
    await world._drill(world.server, "kill")
    conditions = world.server.objects[LLM_FLEET.path("demo", "chat")]["status"]["conditions"]
    assert [it["status"] for it in conditions if it["type"] == "Ready"] == ["True"]
    drill = FLEET_DRILL.path("demo", "kill")
    assert "recovered" not in world.server.objects[drill]["status"]

    await world.until_quiet()
    assert "recovered" in world.server.objects[drill]["status"]
