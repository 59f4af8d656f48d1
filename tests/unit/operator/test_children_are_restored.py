"""Whatever somebody does to any field of any child, it is put right (Acto, Gu et al., SOSP 2023)."""

import copy

import pytest
from crashing_operator import CrashWorld

from tierline.fleet.drift import ANNOTATION_APPLIED
from tierline_operator.kinds import BY_KIND

FLEET = {
    "model": {"source": "/models/tiny"},
    "tierRefs": ["gold"],
    "pools": [{"name": "main", "replicas": {"min": 1, "max": 2}}],
}
CHILDREN = {
    "WorkerPool": "chat-main",
    "PodDisruptionBudget": "chat-main",
    "ServiceAccount": "chat-gateway",
    "Role": "chat-gateway",
    "RoleBinding": "chat-gateway",
    "Service": "chat-gateway",
    "Deployment": "chat-gateway",
}
SERVERS_OWN = {"uid", "resourceVersion", "name", "namespace", "kind", "apiVersion", "status"}
"""Nobody can edit these, or they are not the operator's to say."""


async def settled():
    world = CrashWorld()
    world.put("LLMFleet", "chat", copy.deepcopy(FLEET))
    await world.until_quiet()
    return world


def leaves(obj, path=()):
    """Every path to a value that can be edited."""
    items = obj.items() if isinstance(obj, dict) else enumerate(obj)
    for key, value in items:
        if (not path and key in SERVERS_OWN) or (path == ("metadata",) and key in SERVERS_OWN):
            continue
        whole = path == ("metadata",) and key == "ownerReferences"
        if isinstance(value, dict | list) and value and not whole:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def edited(obj, path, change):
    """Return a copy in which the value at `path` is another one, or is gone."""
    if path[-1] == "ownerReferences":
        # An object with another controller is that one's; see the tests of names that are taken.
        change = "gone"
    copied = copy.deepcopy(obj)
    holder = copied
    for step in path[:-1]:
        holder = holder[step]
    if change == "gone":
        del holder[path[-1]]
    elif isinstance(holder[path[-1]], int):
        holder[path[-1]] += 1
    else:
        holder[path[-1]] = f"{holder[path[-1]]}-edited" if isinstance(holder[path[-1]], str) else "edited"
    return copied


def essence(obj):
    return {key: value for key, value in obj.items() if key != "metadata"} | {
        "labels": obj["metadata"]["labels"],
        "annotations": obj["metadata"]["annotations"],
        "ownerReferences": obj["metadata"]["ownerReferences"],
    }


@pytest.mark.parametrize("change", ["edited", "gone"])
@pytest.mark.parametrize("kind", CHILDREN)
async def test_every_field_of_a_child_is_put_right(kind, change):
    before = await settled()
    path = BY_KIND[kind].path("demo", CHILDREN[kind])
    whole = before.server.objects[path]
    tried = [it for it in leaves(whole) if it != ("spec", "replicas") or kind != "WorkerPool"]
    assert len(tried) > 5
    for leaf in tried:
        world = copy.deepcopy(before)
        world.server.put(edited(whole, leaf, change))
        await world.until_quiet()
        assert essence(world.server.objects[path]) == essence(whole), f"{kind} {leaf} {change}"


@pytest.mark.parametrize("kind", CHILDREN)
async def test_a_deleted_child_comes_back(kind):
    world = await settled()
    path = BY_KIND[kind].path("demo", CHILDREN[kind])
    whole = world.server.objects[path]
    world.delete(kind, CHILDREN[kind])
    await world.until_quiet()
    back = world.server.objects[path]
    assert back["metadata"]["uid"] != whole["metadata"]["uid"]
    assert {**essence(back), "status": 0} == {**essence(whole), "status": 0}
    assert ANNOTATION_APPLIED in back["metadata"]["annotations"]


@pytest.mark.parametrize("label", ["tierline.dev/revision", "tierline.dev/pool", "tierline.dev/fleet"])
async def test_a_worker_whose_label_was_edited_does_not_stay_so(label):
    world = await settled()
    (worker,) = world.workers()
    labels = worker["metadata"]["labels"]
    world.server.put({**worker, "metadata": {**worker["metadata"], "labels": {**labels, label: "edited"}}})
    await world.until_quiet()
    assert [pod["metadata"]["labels"] for pod in world.workers()] == [labels]
