"""A spec that changes while it is acted on: nobody is told that the new one is done because the old one was."""

from api_server_in_memory import wired
from crashing_operator import CrashWorld, Shown
from fleet_builders import IMAGES

from tierline_operator.capacity.book import CapacityBook
from tierline_operator.kinds import BY_KIND
from tierline_operator.pool_reconciling import PoolReconciler
from tierline_operator.reconciling import Reconciler

FLEET = {
    "model": {"source": "/models/tiny"},
    "tierRefs": ["gold"],
    "pools": [{"name": "main", "replicas": {"min": 1, "max": 2}}],
}


async def settled():
    world = CrashWorld()
    world.put("LLMFleet", "chat", FLEET)
    await world.until_quiet()
    return world


def changed_during_the_first_write(world, stores, kind, name, spec):
    """Let a user write the spec at the moment of the operator's first write of anything but a status."""
    path = BY_KIND[kind].path("demo", name)

    def meanwhile(call):
        if call.method != "GET" and not call.path.endswith("/status"):
            world.server.refuses = lambda _call: None
            world.put(kind, name, spec)
            stores.note(world.server.objects[path])

    world.server.refuses = meanwhile
    return path


def observed(obj):
    return {obj["status"]["observedGeneration"], *(it["observedGeneration"] for it in obj["status"]["conditions"])}


async def test_a_fleet_tells_of_the_spec_that_it_acted_on():
    world = await settled()
    world.put("LLMFleet", "chat", {**FLEET, "drainSeconds": 7})
    _, stores, actuator = wired(world.server)
    path = changed_during_the_first_write(world, stores, "LLMFleet", "chat", {**FLEET, "drainSeconds": 9})
    await Reconciler(stores, actuator, IMAGES, book=CapacityBook(), clock=world._clock).fleet("demo", "chat")
    assert world.server.objects[path]["metadata"]["generation"] == 3
    assert observed(world.server.objects[path]) == {1}
    await world.until_quiet()
    assert observed(world.server.objects[path]) == {3}


async def test_a_pool_tells_of_the_spec_that_it_acted_on():
    world = await settled()
    pool = dict(world.server.objects[BY_KIND["WorkerPool"].path("demo", "chat-main")]["spec"])
    world.put("WorkerPool", "chat-main", {**pool, "replicas": 2})
    _, stores, actuator = wired(world.server)
    path = changed_during_the_first_write(world, stores, "WorkerPool", "chat-main", {**pool, "drainSeconds": 9})
    before = observed(world.server.objects[path])
    reconciler = PoolReconciler(stores, actuator, IMAGES, figures=Shown(), book=CapacityBook(), clock=world._clock)
    await reconciler.pool("demo", "chat-main")
    assert observed(world.server.objects[path]) <= before
