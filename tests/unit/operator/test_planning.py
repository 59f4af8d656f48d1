import json

from planning_world import PlanningWorld

from tierline_operator.cluster import ApiError

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
