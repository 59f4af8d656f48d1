"""What somebody changes or deletes by hand below a fleet comes back."""

from typing import Any

import pytest
from e2e_cluster import Json
from e2e_house import House
from e2e_waiting import HANGS_SECONDS, consistently, eventually

from tierline_devcluster.agent.apiserver.client import STRATEGIC_MERGE

RESTORED_SECONDS = 10
POKED = {"name": "gateway", "image": "example.com/poked:1"}


async def test_a_deleted_worker_is_replaced_under_a_new_name(house: House) -> None:
    namespace = house.namespace
    before = {pod["metadata"]["name"] for pod in await namespace.workers(house.fleet)}
    victim = min(before)
    await namespace.delete("Pod", victim)
    after = {pod["metadata"]["name"] for pod in await namespace.until_ready_workers(house.fleet, 2, HANGS_SECONDS)}
    assert victim not in after
    assert len(after - before) == 1


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Deployment", {"spec": {"template": {"spec": {"containers": [POKED]}}}}),
        ("Deployment", {"spec": {"replicas": 2}}),
        ("Deployment", {"metadata": {"labels": {"tierline.dev/fleet": None}}}),
        ("Role", {"rules": []}),
        ("Role", {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]}),
        ("Service", {"spec": {"selector": {"tierline.dev/fleet": "another"}}}),
        ("ServiceAccount", {"metadata": {"ownerReferences": None}}),
    ],
    ids=["image", "replicas", "label", "no-rights", "more-rights", "selector", "owner"],
)
async def test_an_edited_child_is_restored(house: House, kind: str, change: Json) -> None:
    namespace, name = house.namespace, f"{house.fleet}-gateway"
    before = _stable(await namespace.found(kind, name))
    form = {"form": STRATEGIC_MERGE} if "spec" in change else {}
    await namespace.patch(kind, name, change, **form)

    async def restored() -> bool:
        return _stable(await namespace.found(kind, name)) == before

    await eventually(restored, RESTORED_SECONDS, f"{kind} {name} says what it said before {change}")


@pytest.mark.parametrize("kind", ["Role", "RoleBinding", "Service"])
async def test_a_deleted_child_is_created_again(house: House, kind: str) -> None:
    namespace, name = house.namespace, f"{house.fleet}-gateway"
    uid = (await namespace.found(kind, name))["metadata"]["uid"]
    await namespace.delete(kind, name)

    async def another() -> bool:
        obj = await namespace.get(kind, name)
        return obj is not None and obj["metadata"]["uid"] != uid

    await eventually(another, RESTORED_SECONDS, f"another {kind} {name}")


async def test_what_others_add_stays(house: House) -> None:
    namespace, name = house.namespace, f"{house.fleet}-gateway"
    await namespace.patch("Service", name, {"metadata": {"annotations": {"example.com/team": "blue"}}})

    async def annotation() -> Any:
        return (await namespace.found("Service", name))["metadata"]["annotations"].get("example.com/team")

    await consistently(annotation, 2, "an annotation of somebody else")


async def test_a_settled_fleet_is_left_alone(house: House) -> None:
    await house.namespace.until_ready(house.fleet)

    async def versions() -> list[str]:
        names = [("LLMFleet", house.fleet), ("WorkerPool", f"{house.fleet}-main")]
        children = [(kind, f"{house.fleet}-gateway") for kind in ("Role", "RoleBinding", "Service", "ServiceAccount")]
        objects = [await house.namespace.found(kind, name) for kind, name in (*names, *children)]
        return [obj["metadata"]["resourceVersion"] for obj in objects]

    await consistently(versions, 3, "the versions of a settled fleet's objects")


def _stable(obj: Json) -> Json:
    """Return what a person reads of an object: without what the server counts up with every write."""
    metadata = {key: obj["metadata"].get(key) for key in ("name", "labels", "ownerReferences")}
    return {"metadata": metadata, "spec": obj.get("spec"), "rules": obj.get("rules")}
