"""A notice wakes the pool before the cluster is surveyed again: the replacement goes elsewhere all the same."""

import pytest
from api_server_in_memory import wired
from crashing_operator import CrashWorld, Shown
from fleet_builders import IMAGES

from tierline.api.names import LABEL_CAPACITY_TYPE, LABEL_ZONE, TAINT_SPOT_NOTICE
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.capacity.placing import open_rooms
from tierline_operator.capacity.surveying import Surveyor
from tierline_operator.kinds import NODE
from tierline_operator.pool_reconciling import PoolReconciler

FLEET = {
    "model": {"source": "/models/tiny"},
    "tierRefs": ["gold"],
    "placement": {"spot": {"policy": "SpotOnly"}},
    "pools": [{"name": "main", "replicas": {"min": 1, "max": 2}}],
}


def spot(zone, **spec):
    metadata = {"name": f"spot-{zone}", "labels": {LABEL_CAPACITY_TYPE: "spot", LABEL_ZONE: zone}}
    room = {"cpu": "8", "memory": "32Gi", "pods": "10"}
    status = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": room}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec, "status": status}


def noticed(zone, now_ms):
    return spot(zone, taints=[{"key": TAINT_SPOT_NOTICE, "value": str(now_ms // 1000 + 60)}])


def names(rooms):
    return {room.name for room in rooms}


async def surveyed(world):
    """Return stores, actuator and book as they stand after a survey."""
    for zone in "ab":
        world.server.put(spot(zone))
    _, stores, actuator = wired(world.server)
    book = CapacityBook()
    Surveyor(stores, book).survey(world.now_ms)
    return stores, actuator, book


@pytest.mark.parametrize(("doomed", "left"), [("a", "b"), ("b", "a")])
async def test_a_worker_is_not_sent_to_a_node_with_a_notice_that_no_survey_has_seen(doomed, left):
    world = CrashWorld()
    world.put("LLMFleet", "chat", FLEET)
    await world._fleet(world.server, "chat")
    stores, actuator, book = await surveyed(world)
    stores.note(world.server.put(noticed(doomed, world.now_ms)))
    pools = PoolReconciler(stores, actuator, IMAGES, figures=Shown(), book=book, clock=world._clock)
    await pools.pool("demo", "chat-main")
    (worker,) = world.workers()
    assert f"'{left}'" in str(worker["spec"]["affinity"])
    assert f"'{doomed}'" not in str(worker["spec"]["affinity"])


async def test_rooms_of_nodes_that_are_gone_or_closed_are_left_out_and_heartbeats_close_nothing():
    world = CrashWorld()
    stores, _, book = await surveyed(world)
    beating = spot("b")
    beating["status"]["conditions"][0]["lastHeartbeatTime"] = "2027-01-15T08:00:00Z"
    stores.note(world.server.put(beating))
    assert names(open_rooms(stores, book, world.now_ms)) >= {"spot-a", "spot-b"}
    stores.note(world.server.put(noticed("a", world.now_ms)))
    assert "spot-a" not in names(open_rooms(stores, book, world.now_ms))
    stores[NODE].forget(world.server.objects[NODE.path(name="spot-b")])
    assert "spot-b" not in names(open_rooms(stores, book, world.now_ms))
