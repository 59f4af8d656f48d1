import json
from typing import Any

from planning_world import START_MS, PlanningWorld

from tierline.api.names import LABEL_POOL
from tierline.fleet.moments import rfc3339
from tierline.fleet.placement.weights import CachedModel
from tierline.fleet.scaling.cold_starts import PRIOR_SECONDS
from tierline_operator.cluster import ApiError
from tierline_operator.kinds import LLM_FLEET, NODE

ONE = 8.6
"""Requests a second that one worker of the world carries."""


async def test_replicas_follow_the_load_and_are_written_through_scale():
    world = PlanningWorld()
    world.tier()
    world.node("n1")
    world.fleet("chat", scaling={"stabilizationSeconds": 60})
    await world.look(times=6, chat=3 * ONE)
    assert world.replicas("chat") == 4
    writes = [call.path for call in world.server.calls if call.method != "GET" and "workerpools" in call.path]
    assert writes
    assert all(path.endswith("/scale") for path in writes)
    assert world.verdict("chat", "Scaled").holds is True
    await world.look(times=40, chat=0.5 * ONE)
    assert world.replicas("chat") == 1


async def test_others_replicas_are_left_alone():
    world = PlanningWorld()
    world.tier()
    world.fleet("chat", replicas=2, scaling={"mode": "External"})
    await world.look(times=6, chat=50 * ONE)
    assert world.replicas("chat") == 2
    assert world.verdict("chat", "Scaled").reason == "External"


async def test_when_nobody_tells_sizes_stay_and_the_condition_says_who_is_silent():
    world = PlanningWorld()
    world.tier()
    world.fleet("chat")
    await world.look(times=3, chat=3 * ONE)
    before = world.replicas("chat")
    world.signals.silent = "it is asleep"
    await world.look(times=5)
    assert world.verdict("chat", "Scaled").holds is True
    await world.look(times=3)
    silent = world.verdict("chat", "Scaled")
    assert (silent.holds, silent.reason) == (False, "SignalsSilent")
    assert "it is asleep" in silent.message
    assert world.verdict("chat", "Degraded").holds is True
    await world.look(times=20)
    assert world.replicas("chat") == before


async def test_a_new_leader_says_what_its_predecessor_said_until_it_knows_better():
    world = PlanningWorld()
    world.tier()
    world.fleet("chat")
    fleet = world.server.objects[LLM_FLEET.path("demo", "chat")]
    said = {"type": "Scaled", "status": "False", "reason": "SignalsSilent", "message": "Prometheus is asleep"}
    condition = {**said, "lastTransitionTime": rfc3339(START_MS)}
    world.stores.note(world.server.put({**fleet, "status": {"conditions": [condition]}}))
    world.signals.silent = "it is asleep"
    await world.look()
    verdict = world.verdict("chat", "Scaled")
    assert (verdict.holds, verdict.reason, verdict.message) == (False, said["reason"], said["message"])
    await world.look(times=8)
    assert "it is asleep" in world.verdict("chat", "Scaled").message


async def test_a_lower_tier_gives_and_gets_back():
    world = PlanningWorld()
    world.tier("gold", priority=100, objective="Latency")
    world.tier("base", priority=1, objective="Cost")
    world.node("n1", gpus=8)
    world.fleet("batch", tier="base", replicas=8)
    await world.look(times=3)
    world.signals.silent = "no matter"
    world.fleet("chat", low=3, replicas=3)
    for index in (1, 2, 3):
        pod = world.server.objects[f"/api/v1/namespaces/demo/pods/chat-main-{index}"]
        world.stores.note(world.server.put({**pod, "spec": {**pod["spec"], "nodeName": ""}}))
    await world.look(times=10)
    assert world.replicas("batch") == 5
    assert world.replicas("chat") == 3
    world.delete_fleet("chat")
    await world.look(times=10)
    assert world.replicas("batch") == 8


async def test_the_only_free_accelerator_goes_to_the_fleet_whose_queue_is_due_first():
    world = PlanningWorld()
    world.tier()
    world.node("n1", gpus=1)
    world.fleet("code", low=0, replicas=0)
    world.fleet("math", low=0, replicas=0)
    world.signals.queued = 4.0
    world.signals.due_ms = {"code": world.now_ms + 300_000, "math": world.now_ms + 200_000}
    await world.look(times=2)
    assert (world.replicas("code"), world.replicas("math")) == (0, 1)
    assert world.verdict("code", "Scaled").reason == "WaitsForItsTurn"
    assert "code-main has 0 of 1, after math-main" in world.verdict("code", "Scaled").message
    account = world.planner.account_of("demo", "code")
    assert account is not None
    assert account["scale"]["turns"] == [{"pool": "code-main", "most": 0, "after": "math-main"}]
    world.delete_fleet("math")
    await world.look()
    assert world.replicas("code") == 1
    assert world.verdict("code", "Scaled").reason == "FollowsLoad"


async def test_what_a_new_worker_is_too_late_for_takes_no_accelerator_from_what_it_can_help():
    world = PlanningWorld()
    world.tier()
    world.node("n1", gpus=1)
    world.fleet("code", low=0, replicas=0)
    world.fleet("math", low=0, replicas=0)
    world.signals.queued = 4.0
    world.signals.due_ms = {"code": world.now_ms + 300_000, "math": world.now_ms + 15_000}
    await world.look(times=2)
    assert (world.replicas("code"), world.replicas("math")) == (1, 0)


async def test_declared_load_is_judged_before_it_comes():
    world = PlanningWorld()
    world.tier(targets={"ttftMilliseconds": {"p95": 500}})
    world.node("n1")
    workload = {"promptTokens": 100, "outputTokens": 10, "requestsPerMinute": round(60 * 20 * ONE)}
    world.fleet("chat", high=4, workload=workload)
    assert world.book.report("demo", "chat") is None
    await world.look(times=2)
    verdict = world.verdict("chat", "Feasible")
    assert verdict.holds is False
    assert "Tier gold: TTFT p95 of 500 ms" in verdict.message
    assert "workers would do" in verdict.message


async def test_prices_give_the_cost_and_what_was_learned_survives_the_operator():
    world = PlanningWorld()
    world.server.objects["/api/v1/namespaces/ops/configmaps/prices"] = {
        "kind": "ConfigMap",
        "metadata": {"name": "prices"},
        "data": {"prices.json": json.dumps([{"capacityType": "on-demand", "centsPerHour": 400}])},
    }
    world.tier()
    world.node("n1")
    world.node("n2", supply="spot")
    world.fleet("chat", replicas=2, low=2)
    await world.planner.open()
    await world.look(times=20, chat=ONE)
    report = world.book.report("demo", "chat")
    assert report is not None
    assert report.cents_per_hour == 800
    kept = [call for call in world.server.calls if call.path.endswith("configmaps") and call.method == "POST"]
    learned = json.loads(kept[-1].body["data"]["learned.json"])
    assert learned["models"][0]["model"] == "/models/tiny"
    assert learned["markets"][0]["zone"] == "a"


async def test_an_operator_that_may_not_read_its_maps_plans_without_them():
    world = PlanningWorld()
    world.server.refuses = lambda call: ApiError(403, "Forbidden", "no") if "configmaps" in call.path else None
    world.tier()
    world.fleet("chat")
    await world.planner.open()
    await world.look(times=3, chat=3 * ONE)
    assert world.replicas("chat") > 1


async def test_what_does_not_change_is_not_told_again():
    world = PlanningWorld()
    world.tier()
    world.node("n1")
    world.fleet("chat", replicas=2, low=2)
    await world.look(times=6, chat=ONE)
    before = world.book.report("demo", "chat")
    await world.look(times=6, chat=1.1 * ONE)
    assert world.book.report("demo", "chat") == before


async def test_an_account_has_the_figures_behind_size_and_places():
    world = PlanningWorld()
    world.tier()
    world.node("n1", supply="spot", zone="b")
    world.fleet("chat")
    await world.look(times=6, chat=3 * ONE)
    account = world.planner.account_of("demo", "chat")
    assert account is not None
    (pool,) = account["scale"]["pools"]
    assert (pool["name"], pool["replicas"], pool["reason"]) == ("chat-main", 4, "Settled")
    assert account["scale"]["per_second"] > 2 * ONE
    assert {it["zone"] for it in account["placement"]["workers"]} == {"b"}
    assert account["placement"]["markets"][0]["active"] is True
    assert {it["type"] for it in account["conditions"]} == {"Feasible", "Placed", "Scaled", "Degraded"}
    assert world.planner.account_of("demo", "other") is None


def starting(world: PlanningWorld, name: str, ready_after_s: int | None = None) -> None:
    """Put a worker of `chat` that was created at the start of the world, and is ready so many seconds later."""
    pool = world.server.objects["/apis/tierline.dev/v1alpha1/namespaces/demo/workerpools/chat-main"]
    owner = {"kind": "WorkerPool", "name": "chat-main", "uid": pool["metadata"]["uid"]}
    ready = {"type": "Ready", "status": "True" if ready_after_s else "False"}
    if ready_after_s:
        ready["lastTransitionTime"] = rfc3339(START_MS + ready_after_s * 1000)
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(START_MS)}
    stored = world.server.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "demo",
                "labels": {LABEL_POOL: "chat-main"},
                "ownerReferences": [owner],
                "creationTimestamp": rfc3339(START_MS),
                "uid": f"uid-of-{name}",
            },
            "spec": {"nodeName": "n1", "containers": [{}]},
            "status": {"phase": "Running", "podIP": "10.0.0.9", "conditions": [ready, placed]},
        }
    )
    world.stores.note(stored)


async def test_starts_are_learned_used_as_the_lead_of_the_forecast_explained_and_kept():
    world = PlanningWorld()
    world.signals.warm = False
    world.tier()
    world.node("n1")
    world.fleet("chat")
    await world.planner.open()
    account = await seen(world)
    assert account["scale"]["lead_seconds"] == PRIOR_SECONDS
    assert account["scale"]["starts"][0]["samples"] == 0
    starting(world, "chat-main-30")
    await world.look(chat=ONE)
    starting(world, "chat-main-30", ready_after_s=100)
    account = await seen(world)
    (start,) = account["scale"]["starts"]
    assert (start["mean_seconds"], start["samples"], start["warm"]) == (100.0, 1, False)
    assert account["scale"]["lead_seconds"] == start["bound_seconds"] == 200.0
    await world.look(times=20, chat=ONE)
    kept = [call for call in world.server.calls if call.path.endswith("configmaps") and call.method == "POST"]
    (learned,) = json.loads(kept[-1].body["data"]["learned.json"])["starts"]
    assert (learned["model"], learned["accelerator"], learned["warm"]) == ("/models/tiny", "h100", False)


async def seen(world: PlanningWorld) -> dict[str, Any]:
    await world.look(times=2, chat=ONE)
    account = world.planner.account_of("demo", "chat")
    assert account is not None
    return account


async def test_where_the_weights_are_is_told_and_makes_the_next_start_a_warm_one():
    world = PlanningWorld()
    world.tier()
    world.node("n1", gpus=8)
    world.fleet("chat")
    await world.look(times=3, chat=ONE)
    assert world.book.cached("/models/tiny").nodes == ()
    world.signals.cached = {"/models/tiny": 98_000_000.0, "/models/other": 5.0}
    account = await seen(world)
    report = world.book.report("demo", "chat")
    assert report is not None
    assert report.weights == CachedModel(98_000_000, ("n1",))
    assert account["scale"]["starts"][0]["warm"] is True
    world.signals.silent = "asleep"
    await world.look(times=3)
    assert world.book.cached("/models/tiny").nodes == ("n1",), "silence is no news of a node"
    node = world.server.objects.pop("/api/v1/nodes/n1")
    world.server.version += 1
    gone = {**node, "metadata": {**node["metadata"], "resourceVersion": str(world.server.version)}}
    world.stores[NODE].forget(gone)
    await world.look()
    assert world.book.cached("/models/tiny").nodes == ()
