"""Several policies on the same requests, at the scenario's load and at shares of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tierline.sim.ladder import LADDER
from tierline.sim.run import SimulationResult, simulate
from tierline.sim.scenario import Scenario
from tierline.telemetry.goodput import demands, goodput, met
from tierline.telemetry.scorecard import Scorecard

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """A policy at `load` times the scenario's traffic: shares of each tier's requests that met it, of all requests and
    of all tokens, and requests a second in time."""

    load: float
    attainment: Mapping[str, float]
    requests: float
    tokens: float
    in_time_per_second: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """By policy: its run at the scenario's own load with the scorecard of it, and its points, the lowest load first."""

    scenario: Scenario
    seed: int
    results: Mapping[str, SimulationResult]
    scorecards: Mapping[str, Scorecard]
    points: Mapping[str, tuple[LoadPoint, ...]]

    def document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "scenario": self.scenario.name,
            "seed": self.seed,
            "policies": {
                name: {
                    "run": result.document(self.scorecards[name]),
                    "loads": [asdict(point) for point in self.points[name]],
                }
                for name, result in self.results.items()
            },
        }


def compare(
    scenario: Scenario, policies: Sequence[str], seed: int, folder: Path, loads: Sequence[float] = ()
) -> Comparison:
    """Run each policy at the scenario's load and at each of `loads`; raises as `simulate` does."""
    results = {name: simulate(scenario, LADDER[name], seed, folder) for name in policies}
    others = sorted(set(loads) - {1.0})
    return Comparison(
        scenario,
        seed,
        results,
        {name: result.scorecard() for name, result in results.items()},
        {name: tuple(_points(result, others, folder)) for name, result in results.items()},
    )


def scaled(scenario: Scenario, load: float) -> Scenario:
    """Return the scenario with `load` times the requests a second."""
    traffic = tuple(
        source.model_copy(update={"requests_per_second": source.requests_per_second * load})
        if source.requests_per_second is not None
        else source.model_copy(update={"speed": source.speed * load})
        for source in scenario.traffic
    )
    return scenario.model_copy(update={"traffic": traffic})


def load_point(result: SimulationResult, load: float) -> LoadPoint:
    """Return what a run at `load` reached."""
    targets = {target.name: target for target in result.facts.tiers}
    verdicts = [(record.tier, met(record, targets[record.tier])) for record in result.records]
    attainment = {name: _share([good for tier, good in verdicts if tier == name]) for name in targets}
    shares = goodput(result.records, targets, demands(result.records))
    in_time = sum(good for _, good in verdicts)
    return LoadPoint(load, attainment, shares.requests, shares.tokens, in_time / result.scenario.seconds)


def _points(result: SimulationResult, loads: Sequence[float], folder: Path) -> Iterator[LoadPoint]:
    points = [load_point(result, 1.0)]
    for load in loads:
        run = simulate(scaled(result.scenario, load), result.policy, result.seed, folder)
        points.append(load_point(run, load))
    yield from sorted(points, key=lambda point: point.load)


def _share(verdicts: Sequence[bool]) -> float:
    """Return the share of good ones; 1.0 of none, who were promised nothing."""
    return sum(verdicts) / len(verdicts) if verdicts else 1.0
