"""A drill does not take a fleet for recovered that has not noticed its fault yet."""

from crashing_operator import CrashWorld

from tierline_operator.kinds import FLEET_DRILL, LLM_FLEET

FLEET = {
    "model": {"source": "/models/tiny"},
    "tierRefs": ["gold"],
    "pools": [{"name": "main", "replicas": {"min": 2, "max": 2}}],
}


async def test_a_fleet_whose_condition_still_says_ready_has_yet_to_replace_its_worker():
    world = CrashWorld()
    world.put("LLMFleet", "chat", FLEET)
    await world.until_quiet()
    (fleet,) = world.server.of_kind("LLMFleet")
    labels = {"tierline.dev/drills": "allowed"}
    world.server.put({**fleet, "metadata": {**fleet["metadata"], "labels": labels}})
    world.put("FleetDrill", "kill", {"fleetRef": "chat", "kind": "WorkerKill"})

    await world._drill(world.server, "kill")
    assert len(world.workers()) == 1
    await world._drill(world.server, "kill")
    conditions = world.server.objects[LLM_FLEET.path("demo", "chat")]["status"]["conditions"]
    assert [it["status"] for it in conditions if it["type"] == "Ready"] == ["True"]
    drill = FLEET_DRILL.path("demo", "kill")
    assert "recovered" not in world.server.objects[drill]["status"]

    await world.until_quiet()
    assert "recovered" in world.server.objects[drill]["status"]
