"""The operator dies after any of its writes; the next one ends where an undisturbed one would have ended.

Sieve (Sun et al., OSDI 2022) calls these intermediate states. Every write of every scenario is tried.
"""

import copy

import pytest
from crashing_operator import CrashWorld, Died

from tierline.fleet.rollout.canary import CanaryFigures, TierFigures

FLEET = {
    "model": {"source": "/models/tiny"},
    "tierRefs": ["gold"],
    "pools": [{"name": "main", "replicas": {"min": 2, "max": 4}}],
    "drainSeconds": 5,
}
CANARY = {"canaryPercent": 50, "holdSeconds": 0, "analysis": {"minRequests": 5}}


def declared(world, **change):
    world.put("LLMFleet", "chat", {**copy.deepcopy(FLEET), **change})


async def running(**change):
    world = CrashWorld()
    declared(world, **change)
    await world.until_quiet()
    return world


async def nothing_yet():
    return CrashWorld()


async def with_four():
    world = await running()
    replicas(world, 4)
    await world.until_quiet()
    return world


async def allowing_drills():
    world = await running()
    (fleet,) = world.server.of_kind("LLMFleet")
    labels = {"tierline.dev/drills": "allowed"}
    world.server.put({**fleet, "metadata": {**fleet["metadata"], "labels": labels}})
    await world.until_quiet()
    return world


async def with_a_canary():
    world = await running(rollout=CANARY)
    declared(world, rollout=CANARY, drainSeconds=9)
    await world.until_quiet()
    return world


def replicas(world, count):
    pool = next(iter(world.server.of_kind("WorkerPool")))
    world.server.put({**pool, "spec": {**pool["spec"], "replicas": count}})


def canaries_show(bad):
    def show(world):
        world.figures.told = CanaryFigures({"gold": TierFigures(20, bad)}, {})

    return show


def another_pool(world):
    second = {"name": "second", "replicas": {"min": 1, "max": 1}}
    declared(world, pools=[*FLEET["pools"], second])


async def with_two_pools():
    world = CrashWorld()
    another_pool(world)
    await world.until_quiet()
    return world


SCENARIOS = {
    "a fleet is created": (nothing_yet, declared, 2),
    "a pool is scaled up": (running, lambda world: replicas(world, 4), 4),
    "a pool is scaled down": (with_four, lambda world: replicas(world, 2), 4),
    "a change rolls over the workers": (running, lambda world: declared(world, drainSeconds=9), 3),
    "a change is tried by a canary": (
        lambda: running(rollout=CANARY),
        lambda world: declared(world, rollout=CANARY, drainSeconds=9),
        3,
    ),
    "a canary passes": (with_a_canary, canaries_show(bad=0), 3),
    "a canary burns its budget": (with_a_canary, canaries_show(bad=20), 3),
    "a node is about to be reclaimed": (running, lambda world: world.taint("node-a", world.now_ms + 20_000), 4),
    "a drill kills a worker": (
        allowing_drills,
        lambda world: world.put("FleetDrill", "kill", {"fleetRef": "chat", "kind": "WorkerKill"}),
        2,
    ),
    "a pool is added": (running, another_pool, 3),
    "a pool is taken out": (with_two_pools, declared, 3),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_whenever_the_operator_dies_the_next_one_gets_there_and_doubles_nothing(scenario):
    begin, happens, most_workers = SCENARIOS[scenario]
    before = await begin()
    happens(before)
    undisturbed = copy.deepcopy(before)
    writes = await undisturbed.until_quiet()
    assert writes

    for death in range(writes):
        world = copy.deepcopy(before)
        with pytest.raises(Died):
            await world.until_quiet(death)
        # The next operator knows nothing of canaries' figures but what was recorded; they come back later.
        told, world.figures.told = world.figures.told, None
        await world.until_quiet()
        world.figures.told = told
        await world.until_quiet()
        assert world.outcome() == undisturbed.outcome(), f"it died after write {death}"
        assert world.names_used_twice() == [], f"it died after write {death}"
        assert world.workers_made() == undisturbed.workers_made(), f"it died after write {death}"
        assert world.most_workers <= most_workers, f"it died after write {death}"
