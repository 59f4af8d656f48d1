"""A look that has told what it saw is not followed by another that would see the same."""

import pytest
from api_server_in_memory import ApiServerInMemory, wired
from crashing_operator import VERSION
from fleet_builders import IMAGES

from tierline_operator.capacity.book import CapacityBook
from tierline_operator.kinds import LLM_FLEET
from tierline_operator.reconciling import Reconciler
from tierline_operator.wakes import WakeKey

FLEET = {"kind": "LLMFleet", "metadata": {"name": "chat", "namespace": "demo"}, "spec": {}}
PATH = LLM_FLEET.path("demo", "chat")


@pytest.fixture
def server():
    server = ApiServerInMemory()
    server.put({"apiVersion": VERSION, **FLEET})
    return server


async def calls(server, *, until_answered):
    """Return how often the fleet was called while its invalid spec was told of; something may happen meanwhile."""
    wakes, stores, actuator = wired(server)
    answer, called = server.request, []

    async def request(call):
        if call.path.endswith("/status"):
            until_answered(server)
        return await answer(call)

    server.request = request
    wakes.register(WakeKey("LLMFleet", "demo", "chat"), lambda: called.append(1))
    await Reconciler(stores, actuator, IMAGES, book=CapacityBook()).fleet("demo", "chat")
    assert stores[LLM_FLEET].get("demo", "chat")["status"]["conditions"]
    stores.note(server.objects[PATH])
    return len(called)


async def test_the_status_that_a_look_ends_with_calls_for_no_other(server):
    assert await calls(server, until_answered=lambda _server: None) == 0


@pytest.mark.parametrize("field", ["spec", "labels"])
async def test_what_somebody_changed_before_the_answer_came_does(server, field):
    def change(server):
        held = server.objects[PATH]
        changed = {"spec": {"tierRefs": []}} if field == "spec" else {"metadata": {**held["metadata"], "labels": {}}}
        server.put({**held, **changed})

    assert await calls(server, until_answered=change) == 1


async def test_a_pools_status_still_calls_its_fleet(server):
    wakes, stores, _ = wired(server)
    called = []
    wakes.register(WakeKey("LLMFleet", "demo", "chat"), lambda: called.append(1))
    owner = {"kind": "LLMFleet", "name": "chat", "uid": server.objects[PATH]["metadata"]["uid"]}
    pool = {"name": "main", "namespace": "demo", "ownerReferences": [owner]}
    told = server.put({"kind": "WorkerPool", "metadata": pool, "spec": {}, "status": {"replicas": 1}})
    stores.note(told, WakeKey("WorkerPool", "demo", "main"))
    assert called == [1]
