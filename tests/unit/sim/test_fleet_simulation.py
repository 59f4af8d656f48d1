"""Several workers on one clock: nothing is lost, nothing is doubled, and the same seed gives the same run."""

import statistics
from pathlib import Path

import pytest
import yaml

from tierline.sim.ladder import LADDER
from tierline.sim.run import SimulationResult, simulate
from tierline.sim.scenario import parse_scenario
from tierline.telemetry.records import Outcome

FOLDER = Path(__file__).parents[3] / "examples" / "scenarios"


def run(name: str = "three-tiers", policy: str = "tierline", seed: int = 1, **changes: object) -> SimulationResult:
    document = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return simulate(parse_scenario({**document, "seconds": 12, **changes}, name), LADDER[policy], seed, FOLDER)


LOSS = [{"worker": 1, "lostAtSeconds": 6}]


@pytest.mark.parametrize("policy", LADDER)
def test_every_request_ends_and_an_answer_is_whole(policy: str) -> None:
    result = run(policy=policy, faults=LOSS)
    for record in result.records:
        if record.outcome is Outcome.OK:
            assert len(record.token_times_ms) == record.demanded_tokens
            assert list(record.token_times_ms) == sorted(record.token_times_ms)
    if not LADDER[policy].refuses:
        assert {record.outcome for record in result.records} == {Outcome.OK}


def test_the_seed_decides_everything() -> None:
    first, again, other = run(faults=LOSS), run(faults=LOSS), run(seed=2, faults=LOSS)
    assert first.document(first.scorecard()) == again.document(again.scorecard())
    assert other.records != first.records


def test_streams_of_a_lost_worker_go_on_elsewhere() -> None:
    result = run(faults=LOSS)
    moved = [record for record in result.records if record.interrupted]
    assert moved
    assert {record.request_id for record in moved} == set(result.fleet_run.streams_lost_with["worker-1"])
    for record in moved:
        first, second = record.placements
        assert (first.worker, first.ended_ms, second.worker != "worker-1") == ("worker-1", 6000.0, True)
        before = sum(moment < 6000 for moment in record.token_times_ms)
        assert second.recomputed_tokens == record.prompt_tokens + before
        assert record.outcome is Outcome.OK


@pytest.mark.parametrize("policy", ["fcfs-chunked", "tierline"])
def test_without_workers_every_request_ends_with_a_refusal_or_a_failure(policy: str) -> None:
    document = yaml.safe_load((FOLDER / "three-tiers.yaml").read_text())
    result = run(policy=policy, workers={**document["workers"], "count": 1}, faults=[{"worker": 0, "lostAtSeconds": 6}])
    late = [record for record in result.records if record.arrived_ms > 6000]
    assert late
    assert {record.outcome for record in late} == {Outcome.REJECTED}
    assert any(record.outcome is Outcome.FAILED for record in result.records)


def test_a_request_that_no_worker_can_hold_is_refused() -> None:
    document = yaml.safe_load((FOLDER / "three-tiers.yaml").read_text())
    engine = {**document["workers"]["engine"], "maxModelTokens": 500}
    result = run(workers={**document["workers"], "engine": engine})
    too_long = [record for record in result.records if record.prompt_tokens + (record.demanded_tokens or 0) > 500]
    assert too_long
    assert all(record.outcome is Outcome.REJECTED and "the workers hold 500" in record.detail for record in too_long)


def test_a_tier_degrades_when_it_is_full() -> None:
    document = yaml.safe_load((FOLDER / "overload-150.yaml").read_text())
    [tier] = document["tiers"]
    spec = {**tier["spec"], "admission": {"overload": "Degrade", "degradeToRef": "slow", "maxQueueMilliseconds": 1000}}
    slow = {"name": "slow", "spec": {"objective": "Throughput", "priority": 1}}
    result = run("overload-150", tiers=[{"name": tier["name"], "spec": spec}, slow])
    lowered = [request for request in result.fleet_run.requests if request.tier.name == "slow"]
    assert lowered
    assert {request.record().tier for request in lowered} == {"interactive"}


def test_a_quota_holds_in_the_simulation() -> None:
    limited = [{"name": "acme", "limits": {"maxConcurrentRequests": 1}}, {"name": "globex"}]
    result = run("overload-150", tenants=limited)
    refused = [record for record in result.records if "maxConcurrentRequests" in record.detail]
    assert refused
    assert {record.tenant for record in refused} == {"acme"}


def test_first_come_first_served_lets_a_small_tenant_wait_as_long_as_a_big_one() -> None:
    result = run("noisy-neighbour", policy="fcfs-chunked")
    late = [record for record in result.records if record.arrived_ms > 8000]
    waits = {
        tenant: statistics.median(record.ttft_ms for record in late if record.tenant == tenant and record.ttft_ms)
        for tenant in ("victim", "flood")
    }
    assert waits["victim"] == pytest.approx(waits["flood"], rel=0.2)


def test_an_answer_ends_by_itself_before_what_its_client_asked_for() -> None:
    traffic = [{"tenant": "acme", "tier": "interactive", "preset": "lmsys-chat", "requestsPerSecond": 4}]
    known = run(traffic=[{**traffic[0]}], faults=LOSS)
    unknown = run(traffic=[{**traffic[0], "maxTokens": 1024}], faults=LOSS)
    assert [record.demanded_tokens for record in unknown.records] == [
        record.demanded_tokens for record in known.records
    ]
    for record in unknown.records:
        assert record.outcome is Outcome.OK
        assert len(record.token_times_ms) == record.demanded_tokens
