"""Which workers hold which adapters, one sentence a test."""

import pytest

from tierline.fleet.adapters.planner import AdapterWorker, HeldAdapter, WantedAdapter, plan_adapters
from tierline.fleet.adapters.status import AdapterSight, adapter_verdicts, adapters_resolved


def adapter(name, **asked):
    return WantedAdapter(**{"name": name, "source": f"hf://acme/{name}", "rank": 8, **asked})


def worker(name, *held, limit=2, max_rank=64):
    loaded = tuple(it if isinstance(it, HeldAdapter) else HeldAdapter(it, f"hf://acme/{it}") for it in held)
    return AdapterWorker(name, limit, max_rank, loaded)


def done(plan):
    loads = [f"+{it.adapter.name}@{it.worker}" for it in plan.loadings]
    return sorted([*loads, *(f"-{it.name}@{it.worker}" for it in plan.unloadings)])


def test_a_new_adapter_goes_to_the_worker_with_most_room():
    assert done(plan_adapters([adapter("a")], [worker("w1", HeldAdapter("own", "")), worker("w2")], {})) == ["+a@w2"]


def test_an_adapter_stays_where_it_is():
    assert done(plan_adapters([adapter("a"), adapter("b")], [worker("w1", "a"), worker("w2", "b")], {})) == []


def test_a_pinned_one_is_on_every_worker():
    assert done(plan_adapters([adapter("a", pinned=True)], [worker("w1"), worker("w2")], {})) == ["+a@w1", "+a@w2"]


def test_a_used_one_spreads_up_to_its_own_limit():
    workers = [worker(f"w{at}") for at in range(4)]
    assert len(plan_adapters([adapter("a", max_workers=3)], workers, {"a": 1}).loadings) == 3
    assert len(plan_adapters([adapter("a")], workers, {"a": 1}).loadings) == 4


def test_where_there_is_no_room_what_was_used_longest_ago_yields():
    wanted = [adapter("old"), adapter("new"), adapter("newest")]
    plan = plan_adapters(wanted, [worker("w1", "old", "new")], {"old": 1, "new": 2, "newest": 3})
    assert done(plan) == ["+newest@w1", "-old@w1"]
    assert plan.unplaced == {"old": "other adapters take all the room: raise engine.maxAdapters, or add workers"}


def test_the_first_copy_of_each_comes_before_the_second_of_any():
    plan = plan_adapters([adapter("a"), adapter("b")], [worker("w1", limit=1), worker("w2", limit=1)], {"a": 9})
    assert done(plan) == ["+a@w1", "+b@w2"]


def test_a_deleted_adapter_is_unloaded_but_not_what_a_pod_brought_along():
    assert done(plan_adapters([], [worker("w1", "gone", HeldAdapter("own", ""))], {})) == ["-gone@w1"]


def test_another_source_is_loaded_in_place():
    plan = plan_adapters([adapter("a", source="hf://acme/a-v2")], [worker("w1", "a")], {})
    assert [(it.adapter.source, it.replace) for it in plan.loadings] == [("hf://acme/a-v2", True)]
    assert plan.unloadings == ()


@pytest.mark.parametrize(
    ("why", "workers"),
    [
        ("no worker is ready", []),
        ("engine.maxAdapters above 0", [worker("w1", limit=0)]),
        ("engine.maxAdapterRank", [worker("w1", max_rank=4)]),
    ],
)
def test_an_adapter_that_is_nowhere_says_why(why, workers):
    plan = plan_adapters([adapter("a")], workers, {})
    assert why in plan.unplaced["a"]
    assert plan.loadings == ()


def test_an_adapter_is_placed_when_every_fleet_serves_it():
    served, refused = AdapterSight({"w1": "Resident"}), AdapterSight(problem="it is not among the allowed sources")
    said = {it.type: (it.status, it.reason) for it in adapter_verdicts({"chat": served})}
    assert said == {"Accepted": ("True", "Valid"), "Placed": ("True", "Serving"), "Ready": ("True", "Serving")}
    for reason, fleets in (
        ("FleetNotReady", {"chat": served, "gone": None}),
        ("NotServed", {"chat": refused}),
        ("Loading", {"chat": AdapterSight()}),
    ):
        assert adapter_verdicts(fleets)[-1].reason == reason


def test_a_quota_names_the_adapters_that_it_does_not_find():
    assert adapters_resolved(("a",), frozenset({"a"})).holds
    assert "spec.adapterRefs[1] names 'b'" in adapters_resolved(("a", "b"), frozenset({"a"})).message
