"""What admission promises: who is let in is in time, however much comes, and long prompts are let in as others are."""

from collections.abc import Iterable
from typing import Any

import pytest
from simulated_fleets import H100_8B, run_fleet, source, tier

from tierline.sim.run import SimulationResult
from tierline.telemetry.goodput import met
from tierline.telemetry.prompt_lengths import refusals_by_length
from tierline.telemetry.records import Outcome

INTERACTIVE = tier("interactive", 100, "Latency", 10_000, ttftMilliseconds={"p95": 1000}, tpotMilliseconds={"p95": 50})
KNEE_PER_SECOND = 18.0
SECONDS = 40


def conversations(load: float, **parts: Any) -> SimulationResult:
    traffic = [source("a", "interactive", KNEE_PER_SECOND * load, maxTokens=1000)]
    tiers, tenants = [INTERACTIVE], [{"name": "a"}]
    return run_fleet("tierline", seconds=SECONDS, tiers=tiers, tenants=tenants, traffic=traffic, **parts)


def kept(result: SimulationResult) -> float:
    """Return the share of requests that were let in and met their tier; who waited in vain was let in."""
    target = result.facts.tiers[0]
    refused = [one for one in result.records if one.outcome is Outcome.REJECTED and one.ended_ms == one.arrived_ms]
    return sum(met(record, target) for record in result.records) / (len(result.records) - len(refused))


@pytest.fixture(scope="module")
def overloaded() -> SimulationResult:
    return conversations(1.5)


def test_who_is_let_in_is_in_time(record_effect, overloaded: SimulationResult) -> None:
    """SLOs-Serve's guarantee, on a device that takes exactly as long as its model says."""
    shares = [kept(overloaded), kept(conversations(1.0)), kept(conversations(1.25, seed=2))]
    percent = 100 * min(shares)
    record_effect("A1_admitted_in_time", value=percent, threshold=100.0, unit="% at 100, 125 and 150 % load")


def eta_kept(results: Iterable[SimulationResult]) -> float:
    """Return the share of first tokens that came by the time that admission foresaw."""
    served = [one for result in results for one in result.fleet_run.requests if one.token_ms and one.eta_ms is not None]
    return sum(one.token_ms[0] - one.planned.at_ms <= one.eta_ms for one in served) / len(served)


def test_promises_hold_where_iterations_vary(record_effect) -> None:
    """The foreseen time is meant as a 95th percentile: the prediction's residual makes its margin (`first_token`)."""
    noisy = {**H100_8B, "noisePercent": 5.0}
    results = [conversations(load, latency=noisy) for load in (1.25, 1.5)]
    percent = 100 * min(map(kept, results))
    record_effect("A4_admitted_in_time_noisy", value=percent, threshold=99.0, unit="% at 125 and 150 %, 5 % noise")
    record_effect("A4_eta_kept", value=100 * eta_kept(results), threshold=97.0, unit="% of first tokens, 5 % noise")


def test_long_prompts_are_let_in_as_others_are(record_effect, overloaded: SimulationResult) -> None:
    """Up to the tier's p95 of lengths; refusing them first would serve more requests and less of what was asked."""
    shares = [
        bucket.rejected_share
        for name, bucket in refusals_by_length(overloaded.records).items()
        if bucket.requests >= 100 and name != "4096-8191"
    ]
    assert min(shares) > 0.1, "nothing was refused: no load to judge by"
    points = 100 * (max(shares) - min(shares))
    record_effect("A2_refusals_by_length", value=points, threshold=20.0, unit="points between buckets", at_least=False)


def preempted(policy: str) -> float:
    """Return preemptions per request of a burst whose answers all grow together."""
    tiers = [tier("chat", 100, "Throughput", 60_000, ttftMilliseconds={"p95": 30_000}, tpotMilliseconds={"p95": 200})]
    traffic = [source("a", "chat", 16.0, promptTokens=100, outputTokens=600, maxTokens=4000)]
    parts = {"tiers": tiers, "tenants": [{"name": "a"}], "traffic": traffic, "engine": {"kvCacheBlocks": 1500}}
    result = run_fleet(policy, seconds=8, **parts)
    return sum(worker.preemptions for worker in result.fleet_run.workers) / len(result.records)


def test_answers_are_reserved_for_by_their_likely_end(record_effect) -> None:
    """UELLM's point: with room for what clients ask at the most five would run; with none at all they evict another."""
    assert preempted("edf") > 0.25
    percent = 100 * preempted("tierline")
    record_effect("A3_preemptions", value=percent, threshold=2.0, unit="% of requests of a burst", at_least=False)
