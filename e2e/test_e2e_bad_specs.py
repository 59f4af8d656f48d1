"""Wrong resources: refused by the server, or accepted and told in a condition that names the field and the fix."""

import pytest
from e2e_cluster import Cluster, Json, condition_of, refusal
from e2e_gateway import Gateway, reach
from e2e_house import FAST, SLOW, House
from e2e_manifests import fleet, quota, secret, tier
from e2e_models import Models
from e2e_namespace import Namespace
from e2e_streams import assert_whole, whole_answer
from e2e_waiting import HANGS_SECONDS, consistently, eventually
from openai import AuthenticationError

KEY_SECONDS = 40
PATH = "/models/tiny"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"model": {"source": "ftp://somewhere"}}, "spec.model.source"),
        ({"tierRefs": []}, "spec.tierRefs"),
        ({"drainSeconds": -1}, "spec.drainSeconds"),
        ({"pools": [{"name": "main", "replicas": {"min": 1, "max": 1}, "role": "Both"}]}, "spec.pools[0].role"),
        ({"gateway": {"replicas": "two"}}, "spec.gateway.replicas"),
    ],
)
async def test_the_schema_refuses(house: House, wrong: Json, named: str) -> None:
    refused = await refusal(house.namespace.create(fleet("wrong", PATH, (FAST,), **wrong)))
    # The old server writes no index of a list.
    assert named.replace("[0]", "") in refused.replace("[0]", "")


async def test_what_the_schema_cannot_say_is_told_in_a_condition(namespace: Namespace) -> None:
    """A server with CEL refuses it at once; an older one takes it, and the operator says the same."""
    pools = [{"name": "main", "replicas": {"min": 3, "max": 1}}]
    refused = await refusal(namespace.create(fleet("wrong", PATH, (FAST,), pools=pools)))
    if refused:
        assert "replicas" in refused
        return
    told = await namespace.until_condition("LLMFleet", "wrong", "Accepted", "False", HANGS_SECONDS)
    assert told["reason"] == "InvalidSpec"
    assert "spec.pools[0].replicas" in told["message"]
    await namespace.until_event("InvalidSpec", "wrong")
    assert not await namespace.every("WorkerPool")


async def test_a_spec_that_turns_wrong_stops_nothing(house: House) -> None:
    room = house.namespace
    declared = (await room.found("LLMFleet", house.fleet))["spec"]["pools"]
    wrong = [{**pool, "replicas": {"min": 3, "max": 1}} for pool in declared]
    before = [pod["metadata"]["name"] for pod in await room.workers(house.fleet)]
    if not await refusal(room.patch("LLMFleet", house.fleet, {"spec": {"pools": wrong}})):
        await room.until_condition("LLMFleet", house.fleet, "Accepted", "False", HANGS_SECONDS)
    async with reach(room, house.fleet) as gateway, gateway.client("key-of-alice") as alice:
        assert_whole(await whole_answer(alice, house.fleet, "still there?", 10), 10)
    assert [pod["metadata"]["name"] for pod in await room.workers(house.fleet)] == before
    await room.patch("LLMFleet", house.fleet, {"spec": {"pools": declared}})
    await room.until_ready(house.fleet)


async def test_a_dangling_tier_is_told_and_heals(namespace: Namespace, models: Models) -> None:
    await namespace.create(fleet("early", models.tiny, (FAST, "e2e-late"), workers=1))
    told = await namespace.until_condition("LLMFleet", "early", "TiersResolved", "False", HANGS_SECONDS)
    assert "spec.tierRefs[1] names the tier 'e2e-late'" in told["message"]
    assert f"create or correct it, or name one that is in force ({FAST}" in told["message"]
    event = await namespace.until_event("TierNotFound", "early")
    assert event["type"] == "Warning"
    assert not await namespace.workers("early")
    await namespace.cluster.create(tier("e2e-late", 5))
    try:
        await namespace.until_ready("early")
    finally:
        await namespace.cluster.delete("SLOTier", "e2e-late")


async def test_a_tier_deleted_under_a_running_fleet(house: House, system: Cluster) -> None:
    """The fleet says so and goes on serving; when the tier is back, all is well again."""
    room = house.namespace
    workers = [pod["metadata"]["name"] for pod in await room.workers(house.fleet)]
    await system.delete("SLOTier", SLOW)
    try:
        told = await room.until_condition("LLMFleet", house.fleet, "TiersResolved", "False", HANGS_SECONDS)
        assert f"spec.tierRefs[1] names the tier '{SLOW}'" in told["message"]
        assert "What runs keeps running." in told["message"]
        assert condition_of(await room.get("LLMFleet", house.fleet), "Available")["status"] == "True"
        quoted = await room.until_condition("TenantQuota", "bob", "TiersResolved", "False", HANGS_SECONDS)
        assert f"spec.tierRefs[0] names the tier '{SLOW}'" in quoted["message"]
        async with reach(room, house.fleet) as gateway, gateway.client("key-of-alice") as alice:
            assert_whole(await whole_answer(alice, house.fleet, "still there?", 10), 10)
        assert [pod["metadata"]["name"] for pod in await room.workers(house.fleet)] == workers
    finally:
        await system.create(tier(SLOW, 10))
    await room.until_ready(house.fleet)
    await room.until_condition("TenantQuota", "bob", "Ready", "True", HANGS_SECONDS)


async def test_models_that_cannot_be_loaded(namespace: Namespace, models: Models) -> None:
    """A path that leads nowhere, a damaged GGUF: the condition names the field and the fix; no new pods in a hurry."""
    sources = {"nowhere": models.missing, "damaged": models.damaged}
    await namespace.create(*(fleet(name, source, (FAST,), workers=1) for name, source in sources.items()))
    nowhere = await namespace.until_unavailable("nowhere", "WorkersFailing", HANGS_SECONDS)
    assert f"model.source '{models.missing}'" in nowhere["message"]
    assert "mount it or correct the path" in nowhere["message"]
    broken = await namespace.until_unavailable("damaged", "WorkersFailing", HANGS_SECONDS)
    assert "damaged.gguf" in broken["message"]
    assert "model.source" in broken["message"]
    assert "fetch" in broken["message"]
    for name in sources:
        assert condition_of(await namespace.found("LLMFleet", name), "Ready")["status"] == "False"
        await namespace.until_event("WorkersFailing", name)

    async def workers() -> list[str]:
        return [pod["metadata"]["name"] for name in sources for pod in await namespace.workers(name)]

    await consistently(workers, 3, "the workers of fleets that cannot start")


async def test_a_key_that_comes_later_is_known_then(house: House) -> None:
    """A quota whose Secret is missing serves nobody and breaks nobody; once the Secret is there, its key works."""
    room = house.namespace
    await room.create(quota("carol", (FAST,)))
    try:
        async with reach(room, house.fleet) as gateway:
            async with gateway.client("key-of-alice") as alice:
                assert_whole(await whole_answer(alice, house.fleet, "hello", 4), 4)
            await room.create(secret("carol", "key-of-carol"))
            await eventually(lambda: _is_known(gateway, "key-of-carol"), KEY_SECONDS, "the new key is known")
    finally:
        await room.delete("TenantQuota", "carol")
        await room.delete("Secret", "carol")


async def _is_known(gateway: Gateway, key: str) -> bool:
    async with gateway.client(key) as client:
        try:
            await client.models.list()
        except AuthenticationError:
            return False
    return True
