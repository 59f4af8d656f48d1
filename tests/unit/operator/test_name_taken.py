"""An object that a user made under a child's name is neither seen by the stores nor taken over."""

import pytest
from api_server_in_memory import ApiServerInMemory, wired
from fleet_builders import IMAGES

from tierline_operator.actuator import NO_VERSION
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.cluster import ApiError
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


KINDS = ("ServiceAccount", "Role", "Service", "RoleBinding", "Deployment")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_users_own_object_is_left_alone_and_named(server, kind):
    _, stores, actuator = wired(server)
    reconciler = Reconciler(stores, actuator, IMAGES, book=CapacityBook())
    theirs = server.put(unlabelled(kind))
    path = BY_KIND[kind].path("demo", "chat-gateway")

    assert await reconciler.fleet("demo", "chat") == NAME_TAKEN_SECONDS
    assert server.objects[path] == theirs
    assert kind != "Service" or made(server) == set(), "a Service is asked for before anything is made"
    assert (accepted(server)["reason"], f"{kind} chat-gateway" in accepted(server)["message"]) == ("NameTaken", True)

    server.calls.clear()
    assert await reconciler.fleet("demo", "chat") == NAME_TAKEN_SECONDS
    assert made(server) == set(), "nothing more is made while a name is taken"

    del server.objects[path]
    assert await reconciler.fleet("demo", "chat") is None
    assert accepted(server)["status"] == "True"
    assert path in made(server)


@pytest.mark.parametrize("kind", KINDS[:3])
async def test_no_gateway_runs_beside_what_a_user_has_made_under_its_name(server, kind):
    _, stores, actuator = wired(server)
    server.put(unlabelled(kind))
    await Reconciler(stores, actuator, IMAGES, book=CapacityBook()).fleet("demo", "chat")
    assert server.of_kind("Deployment") == server.of_kind("RoleBinding") == []


async def test_nobody_is_asked_who_bears_free_names_but_of_services(server):
    """Servers of 1.20 to 1.22 refuse an apply with a condition for a Service that is not there."""
    _, stores, actuator = wired(server)
    await Reconciler(stores, actuator, IMAGES, book=CapacityBook()).fleet("demo", "chat")
    asked = [call.path for call in server.calls if call.method == "GET"]
    assert asked == [BY_KIND["Service"].path("demo", "chat-gateway")]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_child_of_ours_that_lost_its_label_gets_it_back(server, kind):
    _, stores, actuator = wired(server)
    server.put(unlabelled(kind, {"kind": "LLMFleet", "name": "chat", "uid": "fleet-uid", "controller": True}))
    assert await Reconciler(stores, actuator, IMAGES, book=CapacityBook()).fleet("demo", "chat") is None
    child = server.objects[BY_KIND[kind].path("demo", "chat-gateway")]
    assert child["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    assert accepted(server)["status"] == "True"


class StrictServer(ApiServerInMemory):
    """Has no name for a version that no object has: an apply with a version finds nothing to compare with."""

    async def request(self, call):
        version = ((call.body or {}).get("metadata") or {}).get("resourceVersion")
        if call.method == "PATCH" and version == NO_VERSION and call.path not in self.objects:
            raise ApiError(404, "NotFound", f"{call.path} not found")
        return await super().request(call)


async def test_a_server_that_refuses_the_condition_where_nothing_is_costs_a_question_more():
    server = StrictServer()
    for obj in (TIER, FLEET):
        server.put({"apiVersion": VERSION, **obj})
    _, stores, actuator = wired(server)
    assert await Reconciler(stores, actuator, IMAGES, book=CapacityBook()).fleet("demo", "chat") is None
    assert {BY_KIND[kind].path("demo", "chat-gateway") for kind in KINDS} <= set(server.objects)
