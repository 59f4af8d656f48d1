import pytest
from fleet_builders import declared_fleet

from tierline.api.parsing import parse
from tierline.api.pool import WorkerPool
from tierline.api.tier import SLOTier
from tierline.fleet.wanted import Capacity, ZoneSpread
from tierline.fleet.wanting import forbidden_changes, wanted_fleet, wanted_worker


def tier(name, objective="Throughput", **spec):
    return parse(SLOTier, {"metadata": {"name": name}, "spec": {"objective": objective, "priority": 1, **spec}})


def worker_of(fleet, *tiers):
    pool = wanted_fleet(fleet, tiers).pools[0]
    return wanted_worker(parse(WorkerPool, {"metadata": {"name": pool.name}, "spec": {**pool.spec, "replicas": 1}}))


def test_a_fleet_becomes_what_the_planner_takes():
    wanted = wanted_fleet(declared_fleet(scaling={"mode": "External"}, gateway={"replicas": 3}), ())
    assert (wanted.tier_refs, wanted.gateway_replicas, wanted.scales) == (("gold",), 3, False)
    assert [(pool.name, pool.min_replicas, pool.max_replicas) for pool in wanted.pools] == [("chat-main", 1, 3)]


def test_a_worker_gets_its_settings_from_the_fleet_through_the_pool():
    worker = worker_of(declared_fleet(drainSeconds=7))
    assert worker.environment["TIERLINE_MODEL_SOURCE"] == "/models/tiny"
    assert worker.environment["TIERLINE_MODEL_NAME"] == "chat"
    assert worker.environment["TIERLINE_KV_CACHE_BLOCKS"] == "1024"
    assert (worker.cpu, worker.gpus, worker.accelerators, worker.drain_seconds) == ("2", 1, ("h100",), 7)
    assert worker.zone_spread is ZoneSpread.PREFERRED


@pytest.mark.parametrize(
    ("tiers", "capacity"),
    [
        ((), Capacity.ANY),
        ((tier("a"),), Capacity.ANY),
        ((tier("a", "Latency"),), Capacity.ON_DEMAND),
        ((tier("a", "Latency"), tier("b")), Capacity.ANY),
        ((tier("a", spot="Only"),), Capacity.SPOT),
    ],
)
def test_a_fleet_that_says_nothing_about_spot_follows_its_tiers_where_they_agree(tiers, capacity):
    assert worker_of(declared_fleet(), *tiers).capacity is capacity


@pytest.mark.parametrize(
    ("policy", "capacity"),
    [("OnDemandOnly", Capacity.ON_DEMAND), ("PreferSpot", Capacity.PREFER_SPOT), ("SpotOnly", Capacity.SPOT)],
)
def test_the_fleets_own_word_on_spot_comes_first(policy, capacity):
    fleet = declared_fleet(placement={"spot": {"policy": policy}})
    assert worker_of(fleet, tier("a", "Latency")).capacity is capacity


def test_a_running_fleet_keeps_its_model_and_its_roles():
    before = wanted_fleet(declared_fleet(), ())
    pool = parse(WorkerPool, {"metadata": {"name": "chat-main"}, "spec": before.pools[0].spec})
    pools = [
        {"name": "main", "role": "Prefill", "replicas": {"min": 1, "max": 1}},
        {"name": "extra", "role": "Decode", "replicas": {"min": 1, "max": 1}},
    ]
    after = wanted_fleet(declared_fleet(model={"source": "/models/other"}, pools=pools), ())
    assert forbidden_changes(before, {"chat-main": pool}) == ()
    told = forbidden_changes(after, {"chat-main": pool})
    assert [it.split()[0] for it in told] == ["spec.pools[0].role", "spec.model.source"]
