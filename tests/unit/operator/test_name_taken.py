"""An object that a user made under a child's name is neither seen by the stores nor taken over."""

import pytest
from api_server_in_memory import ApiServerInMemory, wired
from fleet_builders import IMAGES

from tierline_operator.capacity.book import CapacityBook
from tierline_operator.kinds import BY_KIND
from tierline_operator.reconciling import NAME_TAKEN_SECONDS, Reconciler

VERSION = "tierline.dev/v1alpha1"
TIER = {"kind": "SLOTier", "metadata": {"name": "gold"}, "spec": {"objective": "Cost", "priority": 1}}
FLEET = {
    "kind": "LLMFleet",
    "metadata": {"name": "chat", "namespace": "demo", "uid": "fleet-uid"},
    "spec": {
        "model": {"source": "/models/tiny"},
        "tierRefs": ["gold"],
        "pools": [{"name": "main", "replicas": {"min": 2, "max": 4}}],
    },
}


@pytest.fixture
def server():
    server = ApiServerInMemory()
    for obj in (TIER, FLEET):
        server.put({"apiVersion": VERSION, **obj})
    return server


def unlabelled(kind, *owners):
    return {"kind": kind, "metadata": {"name": "chat-gateway", "namespace": "demo", "ownerReferences": list(owners)}}


def accepted(server):
    fleet = server.objects[BY_KIND["LLMFleet"].path("demo", "chat")]
    return next(it for it in fleet["status"]["conditions"] if it["type"] == "Accepted")


def made(server):
    return {
        call.path for call in server.calls if call.method != "GET" and not call.path.endswith(("/status", "/events"))
    }


@pytest.mark.parametrize("kind", ["Service", "ServiceAccount", "Role", "RoleBinding", "Deployment"])
async def test_a_users_own_object_is_left_alone_and_named(server, kind):
    _, stores, actuator = wired(server)
    reconciler = Reconciler(stores, actuator, IMAGES, book=CapacityBook())
    theirs = server.put(unlabelled(kind))
    path = BY_KIND[kind].path("demo", "chat-gateway")

    assert await reconciler.fleet("demo", "chat") == NAME_TAKEN_SECONDS
    assert server.objects[path] == theirs
    assert made(server) == set()
    assert (accepted(server)["reason"], f"{kind} chat-gateway" in accepted(server)["message"]) == ("NameTaken", True)

    del server.objects[path]
    assert await reconciler.fleet("demo", "chat") is None
    assert accepted(server)["status"] == "True"
    assert path in made(server)


async def test_a_child_of_ours_that_lost_its_label_gets_it_back(server):
    _, stores, actuator = wired(server)
    server.put(unlabelled("Service", {"kind": "LLMFleet", "name": "chat", "uid": "fleet-uid", "controller": True}))
    assert await Reconciler(stores, actuator, IMAGES, book=CapacityBook()).fleet("demo", "chat") is None
    service = server.objects[BY_KIND["Service"].path("demo", "chat-gateway")]
    assert service["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    assert accepted(server)["status"] == "True"
