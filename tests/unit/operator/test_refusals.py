"""What the API server refuses is told once and tried again with growing pauses, not in a circle."""

import asyncio

import pytest
from api_server_in_memory import ApiServerInMemory, wired
from fleet_builders import IMAGES

from tierline_operator.adapter_reconciling import AdapterSights
from tierline_operator.canary_figures import GatewayFigures
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.cluster import ApiError
from tierline_operator.looping import Looper, Refused
from tierline_operator.metrics import Metrics
from tierline_operator.policy_status import PolicyStatus
from tierline_operator.pool_reconciling import PoolReconciler
from tierline_operator.wakes import WakeKey, Wakes

KEY = WakeKey("WorkerPool", "demo", "chat-main")
FLEET_REFERENCE = {"kind": "LLMFleet", "name": "chat", "uid": "fleet-uid", "controller": True}
POOL = {
    "apiVersion": "tierline.dev/v1alpha1",
    "kind": "WorkerPool",
    "metadata": {
        "name": "chat-main",
        "namespace": "demo",
        "uid": "pool-uid",
        "annotations": {"tierline.dev/applied": "x"},
        "ownerReferences": [FLEET_REFERENCE],
    },
    "spec": {"fleetRef": "chat", "role": "Unified", "replicas": 2, "model": {"source": "/models/tiny"}},
}


def over_quota(call):
    if call.method != "POST" or not call.path.endswith("/pods"):
        return None
    name = call.body["metadata"]["name"]
    return ApiError(403, "Forbidden", f'pods "{name}" is forbidden: exceeded quota: small, limited: pods=0')


@pytest.fixture
def server():
    server = ApiServerInMemory()
    server.put(POOL)
    server.refuses = over_quota
    return server


def ready_of(status):
    return next(((it["reason"], it["message"]) for it in status.get("conditions", ()) if it["type"] == "Ready"), None)


async def test_refused_workers_do_not_make_the_loop_wake_itself(server):
    wakes, stores, actuator = wired(server)
    reconciler = PoolReconciler(stores, actuator, IMAGES, figures=GatewayFigures(), book=CapacityBook())
    third = asyncio.Event()
    refused = []

    async def look():
        try:
            return await reconciler.pool("demo", "chat-main")
        except Refused:
            refused.append(asyncio.get_running_loop().time())
            if len(refused) == 4:
                third.set()
            raise

    task = asyncio.create_task(Looper(wakes, Metrics(), 60).look_after(KEY, look))
    await asyncio.wait_for(third.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert refused[3] - refused[0] >= 0.1 + 0.2 + 0.4, "the pauses grow"
    assert len(server.writes("/status")) <= len(refused) + 1, "one record of the attempt a look, and one word about it"


async def test_what_is_said_of_refused_workers_stays_the_same(server):
    _, stores, actuator = wired(server)
    reconciler = PoolReconciler(stores, actuator, IMAGES, figures=GatewayFigures(), book=CapacityBook())
    for _ in range(3):
        with pytest.raises(Refused):
            await reconciler.pool("demo", "chat-main")

    said = [ready_of(call.body["status"]) for call in server.writes("/status")]
    assert said[0] is None, "nothing is claimed before the first try"
    assert len(set(said[1:])) == 1
    assert said[1][0] == "WriteRefused"
    assert '"chat-main-*" is forbidden: exceeded quota' in said[1][1]
    assert len(server.writes("/events")) == 1
    last = server.objects["/apis/tierline.dev/v1alpha1/namespaces/demo/workerpools/chat-main"]["status"]["lastAttempt"]
    assert last == 6, "no name is used twice"


async def test_workers_are_made_once_they_are_no_longer_refused(server):
    _, stores, actuator = wired(server)
    reconciler = PoolReconciler(stores, actuator, IMAGES, figures=GatewayFigures(), book=CapacityBook())
    with pytest.raises(Refused):
        await reconciler.pool("demo", "chat-main")
    server.refuses = lambda _call: None
    await reconciler.pool("demo", "chat-main")
    assert [path for path in server.objects if "/pods/" in path] == [
        "/api/v1/namespaces/demo/pods/chat-main-3",
        "/api/v1/namespaces/demo/pods/chat-main-4",
    ]


@pytest.mark.parametrize("status", [403, 404, 409, 422, 500])
async def test_a_tier_whose_status_is_refused_keeps_no_other_one_from_its_own(status):
    server = ApiServerInMemory()
    for name in ("bronze", "gold", "silver"):
        spec = {"objective": "Cost", "priority": 1}
        server.put({"apiVersion": "tierline.dev/v1alpha1", "kind": "SLOTier", "metadata": {"name": name}, "spec": spec})
    server.refuses = lambda call: ApiError(status, "No", "no") if "/bronze/" in call.path else None
    _, stores, actuator = wired(server)

    with pytest.raises(Refused):
        await PolicyStatus(stores, actuator, AdapterSights(), "ops/operator").look()

    told = {path.rpartition("/")[2] for path, obj in server.objects.items() if obj.get("status")}
    assert told == {"gold", "silver"}


async def test_time_that_changes_the_plan_is_kept_in_mind_while_a_write_is_refused():
    looks, done = [], asyncio.Event()

    async def look():
        looks.append(asyncio.get_running_loop().time())
        if len(looks) == 20:
            done.set()
        raise Refused("no", due=0.01)

    task = asyncio.create_task(Looper(Wakes(), Metrics(), 60).look_after(KEY, look))
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
