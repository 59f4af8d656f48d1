"""Changes on a real API server: canaries, promotion, rollback, and budgets for drains."""

import pytest
from operator_testing import eventually, fleet, is_ready

from tierline.fleet.rollout.canary import CanaryFigures, TierFigures
from tierline_operator.canary_figures import GatewayFigures

pytestmark = pytest.mark.controlplane

CANARY = {"canaryPercent": 50, "holdSeconds": 0, "analysis": {"minRequests": 10}}


@pytest.fixture
def shown(monkeypatch):
    """What the gateways tell of canaries: set `shown["gold"]`."""
    told = {}

    async def figures(_self, _change):
        return CanaryFigures(told, {}) if told else None

    monkeypatch.setattr(GatewayFigures, "figures", figures)
    return told


async def start_ready_fleet(world, start_operator, **spec):
    start_operator()
    await world.objects.create(fleet("chat", world.name, (world.name,), **spec))
    await world.objects.until("LLMFleet", "chat", "Ready", "True")


async def revisions(objects):
    pods = await objects.workers()
    return sorted(it["metadata"]["labels"]["tierline.dev/revision"] for it in pods if is_ready(it))


async def until_revisions(objects, *wanted):
    async def there():
        return await revisions(objects) == sorted(wanted)

    await eventually(there, f"ready workers are of {wanted}")


async def change_and_hold(world):
    """Change the fleet's drain time; return the old and the new revision once the canary waits for figures."""
    objects = world.objects
    (old, _) = await revisions(objects)
    await objects.patch("LLMFleet", "chat", {"spec": {"drainSeconds": 2}})
    await objects.until("WorkerPool", "chat-main", "RolledOut", "False", "MetricsSilent")
    rollout = (await objects.get("WorkerPool", "chat-main"))["status"]["rollout"]
    assert rollout["stableRevision"] == old
    assert (rollout["hold"]["gate"], rollout["hold"]["reason"]) == ("Analysis", "MetricsSilent")
    await until_revisions(objects, old, rollout["targetRevision"])
    return old, rollout["targetRevision"]


async def test_a_canary_that_keeps_its_budget_is_followed_by_all(world, start_operator, shown):
    await start_ready_fleet(world, start_operator, rollout=CANARY)
    _, new = await change_and_hold(world)

    shown[world.name] = TierFigures(20, 0)
    await until_revisions(world.objects, new, new)
    await world.objects.until("LLMFleet", "chat", "Ready", "True")

    async def settled():
        pool = await world.objects.get("WorkerPool", "chat-main")
        return pool["status"]["rollout"] == {"stableRevision": new, "targetRevision": new}

    await eventually(settled, "the change is the stable revision")

    async def forgotten():
        kept = await world.objects.every("ControllerRevision")
        return [it["metadata"]["name"] for it in kept] == [f"chat-main-{new}"]

    await eventually(forgotten, "only the revision in use is kept")


async def test_a_canary_that_burns_its_budget_is_taken_back(world, start_operator, shown):
    await start_ready_fleet(world, start_operator, rollout=CANARY)
    old, new = await change_and_hold(world)

    shown[world.name] = TierFigures(20, 20)
    await world.objects.until("LLMFleet", "chat", "Ready", "False", "RolledBack")
    await until_revisions(world.objects, old, old)
    rollout = (await world.objects.get("WorkerPool", "chat-main"))["status"]["rollout"]
    assert rollout["rejectedRevision"] == new
    assert "20 of 20 requests on canaries missed or failed" in rollout["rejection"]
    await world.objects.until_events("RolledBack", "WorkerPool", 1)

    await world.objects.patch("WorkerPool", "chat-main", {"spec": {"replicas": 3}}, "scale")
    await until_revisions(world.objects, old, old, old)
    await world.objects.patch("LLMFleet", "chat", {"spec": {"drainSeconds": 1}})
    await world.objects.until("LLMFleet", "chat", "Ready", "True")


async def test_drains_take_one_worker_after_the_other(world, start_operator):
    await start_ready_fleet(world, start_operator)

    async def allowed():
        budget = await world.objects.get("PodDisruptionBudget", "chat-main")
        status = (budget or {}).get("status", {})
        return status.get("expectedPods") == 2 and status.get("disruptionsAllowed") == 1

    await eventually(allowed, "the budget counts the pool's workers and allows one to go")
    await world.objects.patch("WorkerPool", "chat-main", {"spec": {"replicas": 3}}, "scale")

    async def follows():
        budget = await world.objects.get("PodDisruptionBudget", "chat-main")
        return budget["status"].get("expectedPods") == 3

    await eventually(follows, "the budget follows the replicas")
    await world.objects.patch("PodDisruptionBudget", "chat-main", {"spec": {"maxUnavailable": 3}})

    async def restored():
        budget = await world.objects.get("PodDisruptionBudget", "chat-main")
        return budget["spec"]["maxUnavailable"] == 1

    await eventually(restored, "an edited budget is put right")
