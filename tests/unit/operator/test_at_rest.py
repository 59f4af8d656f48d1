"""A cluster in which nothing happens is not worked out anew, and what happens is not missed for it."""

import itertools

from planning_world import PlanningWorld

from tierline_operator.capacity.patience import FIRST_PAUSE_MS, FREE_TRIES, LONGEST_PAUSE_MS, Patience
from tierline_operator.capacity.remembered import Remembered
from tierline_operator.heartbeats import without_heartbeats


class Silence:
    """A source of which no fleet's gateways answer; counts how often it is asked."""

    name = "pods"

    def __init__(self):
        self.asked = 0

    async def read(self, _fleets, _now_ms):
        self.asked += 1
        return {}


def quiet_world():
    world = PlanningWorld()
    world.tier()
    world.node("n1")
    world.fleet("chat", replicas=2, low=2)
    world.planner._source = Silence()
    return world


async def surveys(world, times, change=None):
    """Return how many of so many looks worked the cluster out; `change` happens before each."""
    count, survey = 0, world.planner._surveyor.survey

    def counted(now_ms):
        nonlocal count
        count += 1
        return survey(now_ms)

    world.planner._surveyor = type("Counted", (), {"survey": staticmethod(counted)})
    for _ in range(times):
        world.now_ms += 5000
        if change:
            change()
        await world.planner.look()
    return count


async def test_a_cluster_at_rest_is_worked_out_every_quarter_of_a_minute_but_its_fleets_are_asked():
    world = quiet_world()
    await world.look(times=3)
    asked = world.planner._source.asked
    for pool in world.server.of_kind("WorkerPool"):
        world.stores.note(pool)
    assert await surveys(world, 12) == 60 // 15
    assert world.planner._source.asked == asked + 12


async def test_a_change_is_seen_at_the_next_look():
    world = quiet_world()
    await world.look(times=3)
    assert await surveys(world, 4, lambda: world.tier("other")) == 4


async def test_a_nodes_heartbeat_is_no_change():
    world = quiet_world()
    await world.look(times=3)
    changes = world.stores.changes
    node = world.server.objects["/api/v1/nodes/n1"]
    beat = [{**it, "lastHeartbeatTime": "now"} for it in node["status"]["conditions"]]
    world.stores.note(world.server.put({**node, "status": {**node["status"], "conditions": beat}}))
    assert world.stores.changes == changes
    world.node("n1", gpus=4)
    assert world.stores.changes == changes + 1


async def test_scenes_of_what_did_not_change_are_the_same_objects():
    world = quiet_world()
    world.fleet("other")
    before = {it.key: it for it in world.planner._scenes.look(world.now_ms)}
    pod = world.server.objects["/api/v1/namespaces/demo/pods/chat-main-1"]
    world.stores.note(world.server.put({**pod, "status": {**pod["status"], "podIP": "10.0.0.9"}}))
    after = {it.key: it for it in world.planner._scenes.look(world.now_ms + 5000)}
    assert after["demo", "other"] is before["demo", "other"]
    assert after["demo", "chat"].pods.workers["chat-main-1"] == "10.0.0.9"


def test_what_is_remembered_is_made_once_and_forgotten_when_nobody_asks():
    it, made = Remembered(), []
    source = {"a": 1}

    def make():
        made.append(1)
        return dict(source)

    first = it.of("key", (source,), make)
    it.turn()
    assert it.of("key", (source,), make) is first
    assert it.of("key", (dict(source),), make) is first, "an equal result is the last one itself"
    assert len(made) == 2
    it.turn()
    it.turn()
    it.of("key", (source,), make)
    assert len(made) == 3


def test_a_node_without_its_heartbeats_keeps_what_matters():
    node = {
        "metadata": {"name": "n", "resourceVersion": "5", "labels": {"a": "b"}},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "now"}], "allocatable": {}},
    }
    bare = {"name": "n", "labels": {"a": "b"}}
    ready = {"type": "Ready", "status": "True"}
    assert without_heartbeats(node) == {"metadata": bare, "status": {"conditions": [ready], "allocatable": {}}}


def test_who_does_not_answer_is_asked_less_and_less_often_and_again_once_it_is_another():
    it, now_ms, asked = Patience(), 0, []
    while now_ms < 300_000:
        if it.is_due("chat", now_ms):
            asked.append(now_ms)
            it.note("chat", told=False, now_ms=now_ms)
        now_ms += FIRST_PAUSE_MS
    gaps = [after - before for before, after in itertools.pairwise(asked)]
    assert gaps[:FREE_TRIES] == [FIRST_PAUSE_MS] * FREE_TRIES
    assert gaps == sorted(gaps)
    assert gaps[-1] == LONGEST_PAUSE_MS
    assert it.is_due("chat with other gateways", now_ms)
    it.note("chat", told=True, now_ms=now_ms)
    assert it.is_due("chat", now_ms)
    it.keep(["other"])
    assert it.is_due("chat", 0)
