"""The oracle: never worse than the policy it judges, and never beyond what the device can do."""

from pathlib import Path

import pytest
import yaml

from tierline.scheduling.latency import Coefficients
from tierline.sim.ladder import LADDER
from tierline.sim.oracle import work_bound_per_second, work_ms
from tierline.sim.run import SimulationResult, simulate
from tierline.sim.scenario import parse_scenario
from tierline.sim.workload import PlannedRequest
from tierline.telemetry.goodput import met

FOLDER = Path(__file__).parents[3] / "examples" / "scenarios"
DEVICE = Coefficients(7.0, 0.02, 0.0, 0.1, 0.0)


def run(policy: str) -> SimulationResult:
    document = yaml.safe_load((FOLDER / "overload-150.yaml").read_text())
    for source in document["traffic"]:
        source["maxTokens"] = 1000
    document["workers"]["count"] = 1
    return simulate(parse_scenario({**document, "seconds": 4}, "overload-150"), LADDER[policy], 1, FOLDER)


def in_time(result: SimulationResult) -> int:
    targets = {target.name: target for target in result.facts.tiers}
    return sum(met(record, targets[record.tier]) for record in result.records)


def test_it_serves_at_least_as_many_in_time_and_every_request_has_an_end() -> None:
    oracle, shipped = run("oracle"), run("tierline")
    assert len(oracle.records) == len(shipped.records)
    # It is no proven optimum: of a hundred requests one may go either way.
    assert in_time(oracle) >= 0.98 * in_time(shipped)
    assert in_time(oracle) < len(oracle.records), "no overload: the oracle has nothing to choose"


def test_a_request_takes_its_prompt_its_rows_and_nothing_else() -> None:
    assert work_ms(DEVICE, prompt_tokens=1000, output_tokens=10) == pytest.approx(20 + 1)


def test_no_schedule_exceeds_the_work_of_the_device() -> None:
    requests = [PlannedRequest(0.0, "a", "t", 1000, 10), PlannedRequest(0.0, "a", "t", 2000, 20)]
    # 63 ms of work for two requests; of each 70 ms one tenth is the iteration itself.
    assert work_bound_per_second(DEVICE, requests, longest_ms=70.0) == pytest.approx(0.9 * 2000 / 63)
