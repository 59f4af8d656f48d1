"""Faults of a simulation: a slow worker, one that nobody hears, one that is gone while nobody hears it."""

import statistics
from pathlib import Path
from typing import Any

import pytest

from tierline.sim.ladder import LADDER
from tierline.sim.run import SimulationResult, simulate
from tierline.sim.scenario import InvalidScenario, parse_scenario
from tierline.telemetry.records import Outcome

DOCUMENT = {
    "name": "faults",
    "seconds": 10,
    "tiers": [{"name": "t", "spec": {"objective": "Throughput", "priority": 1}}],
    "tenants": [{"name": "a"}],
    "workers": {
        "count": 2,
        "engine": {"kvCacheBlocks": 4000, "maxModelTokens": 8192},
        "latency": {"iterationMs": 20, "prefillTokenMs": 0.02, "attentionPairMs": 0, "decodeMs": 0.02, "kvTokenMs": 0},
    },
    "traffic": [{"tenant": "a", "tier": "t", "preset": "lmsys-chat", "requestsPerSecond": 3, "maxTokens": 1024}],
}


def run(*faults: dict[str, Any], policy: str = "tierline") -> SimulationResult:
    scenario = parse_scenario({**DOCUMENT, "faults": list(faults)}, "faults")
    return simulate(scenario, LADDER[policy], 1, Path())


def gaps_of(result: SimulationResult, worker: str, from_ms: float, until_ms: float) -> list[float]:
    """Gaps between tokens that `worker` gave between two moments."""
    return [
        gap
        for record in result.records
        if [placement.worker for placement in record.placements] == [worker]
        for moment, gap in zip(record.token_times_ms[1:], record.gaps_ms, strict=True)
        if from_ms < moment < until_ms
    ]


def test_a_slow_worker_is_slow_for_a_while_and_others_are_preferred() -> None:
    slow = run({"worker": 0, "slowFromSeconds": 3, "untilSeconds": 8, "factor": 5})
    within = statistics.median(gaps_of(slow, "worker-0", 3100, 8000))
    assert within == pytest.approx(5 * statistics.median(gaps_of(slow, "worker-0", 0, 3000)), rel=0.1)
    started = [
        placement.worker
        for record in slow.records
        for placement in record.placements
        if 4000 < placement.started_ms < 8000
    ]
    assert started.count("worker-1") > 2 * started.count("worker-0")


def test_a_silent_worker_is_heard_late_and_loses_nothing() -> None:
    silent = run({"worker": 0, "silentFromSeconds": 3, "untilSeconds": 8})
    assert {record.outcome for record in silent.records} == {Outcome.OK}
    assert all(len(record.token_times_ms) == record.demanded_tokens for record in silent.records)
    quiet = [record for record in silent.records if max(record.gaps_ms, default=0) > 4000]
    assert quiet
    assert all(placement.worker == "worker-0" for record in quiet for placement in record.placements)


def test_a_worker_that_nobody_believes_gets_nothing_new() -> None:
    silent = run({"worker": 0, "silentFromSeconds": 2, "untilSeconds": 9})
    started = [
        placement.worker
        for record in silent.records
        for placement in record.placements
        if 5100 < placement.started_ms < 9000
    ]
    assert set(started) == {"worker-1"}


def test_what_a_silent_worker_had_answered_is_computed_again_when_it_is_lost() -> None:
    lost = run({"worker": 0, "silentFromSeconds": 3, "untilSeconds": 9}, {"worker": 0, "lostAtSeconds": 6})
    assert {record.outcome for record in lost.records} == {Outcome.OK}
    assert all(len(record.token_times_ms) == record.demanded_tokens for record in lost.records)
    assert any(record.interrupted for record in lost.records)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"worker": 0}, "faults[0].lostAtSeconds or slowFromSeconds or silentFromSeconds is required"),
        ({"worker": 0, "lostAtSeconds": 1, "slowFromSeconds": 1}, "only one of them"),
        ({"worker": 0, "slowFromSeconds": 1}, "faults[0].untilSeconds is required"),
        ({"worker": 0, "silentFromSeconds": 5, "untilSeconds": 5}, "faults[0].untilSeconds is required"),
        ({"worker": 0, "lostAtSeconds": 1, "untilSeconds": 5}, "not with lostAtSeconds"),
    ],
)
def test_a_wrong_fault_is_told_what_it_lacks(fault: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidScenario) as caught:
        parse_scenario({**DOCUMENT, "faults": [fault]}, "faults")
    assert said in str(caught.value)


def test_a_worker_is_lost_once() -> None:
    twice = [{"worker": 0, "lostAtSeconds": 1}, {"worker": 0, "lostAtSeconds": 2}]
    with pytest.raises(InvalidScenario, match=r"faults\[1\]\.lostAtSeconds is said of a worker"):
        parse_scenario({**DOCUMENT, "faults": twice}, "faults")
