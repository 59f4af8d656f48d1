"""Tierline is uninstalled under live fleets: they go on, can be deleted, and a later installation takes them over."""

from e2e_cluster import Cluster
from e2e_gateway import reach
from e2e_house import FAST, KEYS, OPERATOR, SYSTEM, House, install, uninstall
from e2e_manifests import fleet
from e2e_models import Models
from e2e_namespace import Namespace
from e2e_streams import assert_whole, open_stream
from e2e_waiting import HANGS_SECONDS

from tierline.api.names import FINALIZER

TOKENS = 2000


async def test_uninstall_and_install_again(system: Cluster, house: House, namespace: Namespace, models: Models) -> None:
    await namespace.create(fleet("orphan", models.tiny, (FAST,), workers=1))
    await namespace.until_ready("orphan")
    await house.namespace.until_ready(house.fleet)
    before = await _pods(house)
    async with reach(house.namespace, house.fleet) as gateway, gateway.client(KEYS["alice"]) as alice:
        stream = open_stream(alice, house.fleet, "the whole time", TOKENS, temperature=1, seed=1)
        await stream.until(5)
        await uninstall(system)
        await _assert_nothing_is_stuck(system)
        assert_whole(await stream.end(), TOKENS)
        assert_whole(await open_stream(alice, house.fleet, "still there?", 20).end(), 20)
    assert await _pods(house) == before

    await namespace.delete("LLMFleet", "orphan")
    await namespace.until_gone("orphan", HANGS_SECONDS)

    await install(system)
    await house.namespace.until_ready(house.fleet)
    assert await _pods(house) == before
    await house.namespace.delete("Pod", next(iter(before)))
    await house.namespace.until_ready_workers(house.fleet, 2, HANGS_SECONDS)


async def _pods(house: House) -> set[str]:
    return {pod["metadata"]["name"] for pod in await house.namespace.workers(house.fleet)}


async def _assert_nothing_is_stuck(system: Cluster) -> None:
    """The operator is gone with its rights and its hook, and no object waits for it."""
    assert await system.get("Deployment", OPERATOR, SYSTEM) is None
    assert not await system.every("Job", SYSTEM)
    roles = await system.api.get("/apis/rbac.authorization.k8s.io/v1/clusterroles")
    assert not [role for role in roles["items"] if role["metadata"]["name"].startswith("tierline-")]
    for kind in ("LLMFleet", "WorkerPool"):
        objects = await system.every(kind)
        assert objects, f"every {kind} is still there"
        assert not [obj for obj in objects if FINALIZER in obj["metadata"].get("finalizers", [])]
