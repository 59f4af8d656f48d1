"""Fleets on a real API server: what the operator makes of them, keeps of them, and leaves behind."""

import itertools

import pytest
from operator_testing import eventually, fleet, tier

from tierline_operator.cluster import ApiError, Call
from tierline_operator.kinds import FLEET_CHILDREN, SLO_TIER

pytestmark = pytest.mark.controlplane

MADE = ("WorkerPool", "Pod", "Deployment", "Service", "ServiceAccount", "Role", "RoleBinding")


async def versions(objects):
    """Every object that the operator made or writes, with its version."""
    found = {}
    for kind in ("LLMFleet", *MADE):
        for obj in await objects.every(kind):
            found[kind, obj["metadata"]["name"]] = obj["metadata"]["resourceVersion"]
    return found


async def start_ready_fleet(world, start_operator, **spec):
    operator = start_operator()
    await world.objects.create(fleet("chat", world.name, (world.name,), **spec))
    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    return operator


async def test_a_fleet_becomes_pools_workers_and_a_gateway(world, start_operator):
    await start_ready_fleet(world, start_operator)

    await world.objects.until_workers("chat-main-1", "chat-main-2")
    live = await world.objects.get("LLMFleet", "chat")
    assert live["status"]["replicas"] == live["status"]["readyReplicas"] == 2
    assert live["status"]["observedGeneration"] == live["metadata"]["generation"]
    assert live["metadata"]["finalizers"] == ["tierline.dev/operator"]
    assert "annotations" not in live["metadata"], "the operator writes nothing into a user's object but its finalizer"
    for kind in FLEET_CHILDREN:
        for child in await world.objects.every(kind.kind):
            if child["metadata"]["name"].startswith("chat"):
                assert child["metadata"]["ownerReferences"][0]["uid"] == live["metadata"]["uid"]


async def test_a_settled_fleet_is_left_alone(world, start_operator):
    operator = await start_ready_fleet(world, start_operator)
    serial = itertools.count()

    async def changed_when_looked_at():
        before, looks = await versions(world.objects), operator.looks("LLMFleet")
        await world.objects.patch("LLMFleet", "chat", {"metadata": {"labels": {"touched": str(next(serial))}}})

        async def looked_at():
            return operator.looks("LLMFleet") > looks

        await eventually(looked_at, "the operator looks at the fleet again")
        after = await versions(world.objects)
        return {key for key in after if after[key] != before.get(key)}

    async def settled():
        # Other controllers still write for a while; the operator's own writes would come back with every look.
        return all([await changed_when_looked_at() == {("LLMFleet", "chat")} for _ in range(5)])

    await eventually(settled, "five looks in a row change nothing, our own touch apart")


async def test_scale_goes_through_the_subresource_and_keeps_the_bounds(world, start_operator):
    await start_ready_fleet(world, start_operator)

    await world.objects.patch("WorkerPool", "chat-main", {"spec": {"replicas": 3}}, "scale")
    await world.objects.until_workers("chat-main-1", "chat-main-2", "chat-main-3")
    await world.objects.patch("WorkerPool", "chat-main", {"spec": {"replicas": 9}}, "scale")
    await world.objects.until_workers(*(f"chat-main-{attempt}" for attempt in (1, 2, 3, 4)))
    await world.objects.patch("WorkerPool", "chat-main", {"spec": {"replicas": 0}}, "scale")
    await world.objects.until_workers("chat-main-1", "chat-main-2")

    async def told():
        path = f"/apis/tierline.dev/v1alpha1/namespaces/{world.name}/workerpools/chat-main/scale"
        scale = await world.cluster.request(Call("GET", path))
        return scale["status"] == {"replicas": 2, "selector": "tierline.dev/pool=chat-main"}

    await eventually(told, "autoscalers see the replicas and the selector")


async def test_replicas_of_an_external_autoscaler_are_never_written(world, start_operator):
    await start_ready_fleet(world, start_operator, scaling={"mode": "External"})

    await world.objects.patch("WorkerPool", "chat-main", {"spec": {"replicas": 5}}, "scale")
    await world.objects.until_workers(*(f"chat-main-{attempt}" for attempt in range(1, 6)))
    await world.objects.patch("LLMFleet", "chat", {"spec": {"drainSeconds": 2}})
    await world.objects.until_workers(*(f"chat-main-{attempt}" for attempt in range(6, 11)))
    assert (await world.objects.get("WorkerPool", "chat-main"))["spec"]["replicas"] == 5


async def test_edited_and_deleted_children_are_restored(world, start_operator):
    await start_ready_fleet(world, start_operator)
    objects = world.objects

    await objects.delete("Service", "chat-gateway")
    await objects.delete("Pod", "chat-main-1")
    await objects.patch("Deployment", "chat-gateway", {"spec": {"replicas": 0}})
    await objects.patch("Role", "chat-gateway", {"rules": []})

    await objects.until_workers("chat-main-2", "chat-main-3")

    async def restored():
        gateway, role = await objects.get("Deployment", "chat-gateway"), await objects.get("Role", "chat-gateway")
        return await objects.get("Service", "chat-gateway") and gateway["spec"]["replicas"] == 1 and role["rules"]

    await eventually(restored, "everything is as before")


async def test_an_edited_pool_gets_its_fleets_spec_back(world, start_operator):
    await start_ready_fleet(world, start_operator)

    await world.objects.patch("WorkerPool", "chat-main", {"spec": {"engine": {"threads": 7}}})

    async def restored():
        pool, pods = await world.objects.get("WorkerPool", "chat-main"), await world.objects.workers()
        threads = [
            env["value"]
            for pod in pods
            for env in pod["spec"]["containers"][0]["env"]
            if env["name"] == "TIERLINE_THREADS"
        ]
        return pool["spec"]["engine"]["threads"] == 1 and threads == ["1", "1"]

    await eventually(restored, "pool and workers are as the fleet says")
    await world.objects.until("LLMFleet", "chat", "Ready", "True")


async def test_a_change_replaces_workers_one_by_one(world, start_operator):
    await start_ready_fleet(world, start_operator)

    await world.objects.patch("LLMFleet", "chat", {"spec": {"drainSeconds": 2}})
    await world.objects.until_workers("chat-main-3", "chat-main-4")

    assert len(world.kubelet.pods_seen) == 4 + 1, "two old workers, two new ones, one gateway"
    for pod in await world.objects.workers():
        assert pod["spec"]["terminationGracePeriodSeconds"] == 12


async def refused_by_the_server(world, change):
    """Change the fleet's spec; a server that knows CEL refuses what breaks a rule, an older one takes it."""
    try:
        await world.objects.patch("LLMFleet", "chat", {"spec": change})
    except ApiError as refusal:
        if refusal.status != 422:
            raise
        return True
    return False


async def test_an_invalid_spec_is_refused_in_words_and_nothing_stops(world, start_operator):
    await start_ready_fleet(world, start_operator)

    wrong = [{"name": "main", "replicas": {"min": 5, "max": 2}, "accelerator": world.name}]
    if not await refused_by_the_server(world, {"pools": wrong}):
        accepted = await world.objects.until("LLMFleet", "chat", "Accepted", "False", "InvalidSpec")
        assert "spec.pools[0].replicas.min" in accepted["message"]
        ready = await world.objects.until("LLMFleet", "chat", "Ready", "False", "InvalidSpec")
        assert ready["message"] == accepted["message"]
        events = await world.objects.until_events("InvalidSpec", "LLMFleet", 1)
        assert [event["type"] for event in events] == ["Warning"]

    assert (await world.objects.condition("LLMFleet", "chat", "Available"))["status"] == "True"
    await world.objects.until_workers("chat-main-1", "chat-main-2")


async def test_a_running_fleet_keeps_its_model(world, start_operator):
    await start_ready_fleet(world, start_operator)

    if not await refused_by_the_server(world, {"model": {"source": "/models/other"}}):
        accepted = await world.objects.until("LLMFleet", "chat", "Accepted", "False", "InvalidSpec")
        assert "spec.model.source cannot be changed" in accepted["message"]

    await world.objects.until_workers("chat-main-1", "chat-main-2")


async def test_a_missing_tier_is_named_once_and_found_later(world, start_operator):
    start_operator()
    await world.objects.create(fleet("chat", world.name, (f"{world.name}-gold",)))

    resolved = await world.objects.until("LLMFleet", "chat", "TiersResolved", "False", "TierNotFound")
    assert "spec.tierRefs[0]" in resolved["message"]
    assert f"'{world.name}-gold'" in resolved["message"]
    assert await world.objects.every("WorkerPool") == []

    await world.cluster.request(Call("POST", SLO_TIER.path(), body=tier(f"{world.name}-gold")))
    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    before = {pod["metadata"]["uid"] for pod in await world.objects.workers()}

    await world.cluster.request(Call("DELETE", SLO_TIER.path(name=f"{world.name}-gold")))
    await world.objects.until("LLMFleet", "chat", "Ready", "False", "TierNotFound")
    assert (await world.objects.condition("LLMFleet", "chat", "Available"))["status"] == "True"
    assert {pod["metadata"]["uid"] for pod in await world.objects.workers()} == before
    events = await world.objects.until_events("TierNotFound", "LLMFleet", 2)
    assert [event["type"] for event in events] == ["Warning"] * 2


async def test_workers_that_crash_say_why(world, start_operator):
    world.kubelet.crashes = lambda pod: "ModelSourceError: model.source /models/tiny: no such file"
    start_operator()
    await world.objects.create(fleet("chat", world.name, (world.name,)))

    available = await world.objects.until("LLMFleet", "chat", "Available", "False", "WorkersFailing")
    assert "model.source /models/tiny: no such file" in available["message"]
    assert len(await world.objects.workers()) == 2
    await world.objects.until_events("WorkersFailing", "LLMFleet", 1)


async def test_tiers_and_quotas_say_whether_they_can_be_used(world, start_operator):
    start_operator()
    keys = [{"name": "acme-keys", "key": "api-key"}]
    spec = {"tenant": "acme", "tierRefs": [world.name], "apiKeySecretRefs": keys}
    quota = {"apiVersion": "tierline.dev/v1alpha1", "kind": "TenantQuota", "metadata": {"name": "acme"}, "spec": spec}
    await world.objects.create(quota)
    await world.objects.create(fleet("chat", world.name, (world.name,)))

    await world.objects.until("TenantQuota", "acme", "Ready", "True")
    live = await world.objects.get("TenantQuota", "acme")
    assert "finalizers" not in live["metadata"]

    async def readable():
        role = await world.objects.get("Role", "chat-gateway")
        return role and {"resourceNames": ["acme-keys"], "verbs": ["get"]}.items() <= role["rules"][-1].items()

    await eventually(readable, "the gateway may read the tenant's keys")

    await world.objects.patch("TenantQuota", "acme", {"spec": {"tierRefs": ["none-such"]}})
    resolved = await world.objects.until("TenantQuota", "acme", "TiersResolved", "False", "TierNotFound")
    assert "spec.tierRefs[0] names the tier 'none-such'" in resolved["message"]


async def test_deleting_a_fleet_leaves_nothing(world, start_operator):
    await start_ready_fleet(world, start_operator)

    await world.objects.delete("LLMFleet", "chat")

    async def gone():
        left = [
            f"{kind} {obj['metadata']['name']}"
            for kind in ("LLMFleet", *MADE)
            for obj in await world.objects.every(kind)
        ]
        return all(name == "ServiceAccount default" for name in left)

    await eventually(gone, "nothing is left", seconds=40)


async def test_a_pool_without_a_fleet_is_told_how_pools_are_made(world, start_operator):
    await start_ready_fleet(world, start_operator)
    made = await world.objects.get("WorkerPool", "chat-main")

    lonely = {**made, "metadata": {"name": "lonely", "namespace": world.name}, "status": {}}
    await world.objects.create(lonely)

    accepted = await world.objects.until("WorkerPool", "lonely", "Accepted", "False", "InvalidSpec")
    assert "declare it in spec.pools of a fleet" in accepted["message"]
    await world.objects.until_workers("chat-main-1", "chat-main-2")
