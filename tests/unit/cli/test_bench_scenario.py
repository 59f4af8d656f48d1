"""`tierline bench scenario`: what is sent, what is counted, what is refused before anything starts."""

from pathlib import Path

import pytest
from rich.console import Console

from tierline.sim.scenario import load_scenario
from tierline.sim.workload import PlannedRequest
from tierline.telemetry.records import ClusterFacts, Outcome, TenantShare, TierTarget
from tierline_cli.bench.scenario.command import ScenarioBenchOptions, run_scenario_bench
from tierline_cli.bench.scenario.play import Play, at_load, longest_plan_seconds, record_of
from tierline_cli.bench.scenario.served import MODEL, scenario_policy
from tierline_cli.demo.client import Observation
from tierline_cli.errors import CommandFailed

EXAMPLES = Path(__file__).parents[3] / "examples" / "scenarios"
TARGET = TierTarget("fast", ttft_ms=100, tpot_ms=10)


def planned(at_ms: float, tokens: int = 3) -> PlannedRequest:
    return PlannedRequest(at_ms, "acme", "fast", 8, tokens)


def seen(times_ms: list[float], outcome: Outcome = Outcome.OK, tokens: int = 3) -> Observation:
    observation = Observation(planned(0, tokens), "hi", sent_ms=0.0, outcome=outcome)
    for moment in times_ms:
        observation.add_tokens([7], moment)
    return observation


def test_more_load_is_the_same_requests_closer_together() -> None:
    requests = [planned(at_ms) for at_ms in (0, 10_000, 20_000, 29_000)]
    assert [each.at_ms for each in at_load(requests, 200, 10)] == [0, 5_000]
    assert longest_plan_seconds(10, [50, 200]) == 20
    assert [each.at_ms for each in at_load(requests, 50, 60)] == [0, 20_000, 40_000, 58_000]


def test_requests_in_time_are_counted_against_the_tier_and_over_the_time_of_arrivals() -> None:
    observations = [
        seen([50, 55, 60]),
        seen([150, 155, 160]),
        seen([50, 90, 130]),
        seen([50]),
        seen([], Outcome.REJECTED),
    ]
    facts = ClusterFacts(2_000, (TARGET,), (TenantShare("acme"),))
    play = Play("100 %", tuple(map(record_of, range(5), observations)), facts, arrivals_seconds=2.0)
    assert play.requests_per_second_in_time == 0.5
    assert play.tenant("acme")["ttft_ms_p50"] == 50
    assert [record.lost_tokens for record in play.records] == [0, 0, 0, 2, 0]


def test_tokens_beyond_what_was_asked_for_are_doubled() -> None:
    assert record_of(0, seen([1, 2, 3, 4])).doubled_tokens == 1


@pytest.mark.parametrize("file", sorted((EXAMPLES / "real").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_gateway_knows_everyone_of_the_shipped_scenarios(file: Path) -> None:
    scenario = load_scenario(file)
    snapshot = scenario_policy(scenario)
    assert {snapshot.keys.tenant_of(tenant.name) for tenant in scenario.tenants} == set(snapshot.policy.tenants)
    assert snapshot.policy.models[MODEL].tiers == tuple(snapshot.policy.tiers)


def options(tmp_path: Path, file: Path, **changes: object) -> ScenarioBenchOptions:
    given = {
        "scenario_file": file,
        "json_file": tmp_path / "figures.json",
        "loads": (100.0,),
        "alone": "",
        "seed": None,
        "model": "file:///nowhere",
        "dtype": "Float32",
        "sources": tmp_path,
        "cache_dir": tmp_path,
    }
    return ScenarioBenchOptions(**(given | changes))


def test_a_stranger_who_is_to_play_alone_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"--alone 'nobody' is not a tenant .*: use one of victim, flood"):
        run_scenario_bench(options(tmp_path, EXAMPLES / "real/noisy-neighbour.yaml", alone="nobody"), Console())


def test_faults_are_refused_since_nothing_would_cause_them(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="faults can only be simulated"):
        run_scenario_bench(options(tmp_path, EXAMPLES / "three-tiers.yaml"), Console())


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="nowhere"):
        run_scenario_bench(options(tmp_path, EXAMPLES / "real/three-tiers.yaml"), Console())
