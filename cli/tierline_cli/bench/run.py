"""Runs a case: every contestant warm, then all of them in turn, and medians of what came out."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tierline.bench.protocol import Load, Setup
from tierline_cli.bench.cases import TARGET_OVER_IDLE, Case, Draw
from tierline_cli.bench.contestant import Contestant, ContestantFailed
from tierline_cli.bench.figures import Figures, gaps_of_the_first, idle_gap_ms
from tierline_cli.bench.grid import OURS, Grid

WARM_UP = -1
CALIBRATION = -2
_WARM_UP_SCALE = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and how large: `scale` 1 is full size; prompts are drawn from `vocabulary`."""

    repeats: int
    scale: float
    vocabulary: range

    def draw(self, case: Case, repetition: int) -> Draw:
        scale = self.scale * (_WARM_UP_SCALE if repetition == WARM_UP else 1.0)
        return Draw(case.name, repetition, self.vocabulary, scale)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case's figures of each run by contestant, why others failed, and what each engine says of itself.

    `traces` are the gaps of one stream over time, in the newest run of a case that is about them.
    """

    case: Case
    runs: Mapping[str, Sequence[Figures]]
    failures: Mapping[str, str]
    facts: Mapping[str, dict[str, str]]
    traces: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the case's part of the JSON; ratios above 1 say that ours is better."""
        ours = self.runs.get(OURS)
        others = {name: figures for name, figures in self.runs.items() if name != OURS}
        failed = {name: {"failed": reason} for name, reason in self.failures.items()}
        return {
            "headline": self.case.headline,
            "tierline": medians(ours) if ours else failed.get(OURS),
            "peers": {name: medians(figures) for name, figures in others.items()}
            | {name: reason for name, reason in failed.items() if name != OURS},
            "ratio": {name: self._ratio(ours, figures) for name, figures in others.items()} if ours else {},
            **({"trace": dict(self.traces)} if self.traces else {}),
            "runs": {name: [run[self.case.headline] for run in figures] for name, figures in self.runs.items()},
        }

    def _ratio(self, ours: Sequence[Figures], theirs: Sequence[Figures]) -> float:
        """Return the median over the alternated pairs."""
        name = self.case.headline
        pairs = [(mine[name], other[name]) for mine, other in zip(ours, theirs, strict=False)]
        better = [mine / other if self.case.higher_is_better else other / mine for mine, other in pairs]
        return round(statistics.median(better), 3)


def medians(runs: Sequence[Figures]) -> Figures:
    """Return the median of each figure that every run has."""
    shared = [name for name in runs[0] if all(name in run for run in runs)]
    return {name: _rounded(statistics.median(run[name] for run in runs)) for name in shared}


def run_case(case: Case, grid: Grid, setup: Setup, plan: Plan, tell: Callable[[str], None]) -> Outcome:
    """Run `case`; a contestant that fails is left out from then on, with its reason in the outcome."""
    return _CaseRun(case, grid, setup, plan, tell).outcome()


class _CaseRun:
    def __init__(self, case: Case, grid: Grid, setup: Setup, plan: Plan, tell: Callable[[str], None]) -> None:
        self._case, self._grid, self._plan, self._tell = case, grid, plan, tell
        self._setup = case.setup_from(setup, plan.scale)
        self._failures: dict[str, str] = {}
        self._facts: dict[str, dict[str, str]] = {}
        self._runs: dict[str, list[Figures]] = {}
        self._traces: dict[str, list[tuple[float, float]]] = {}
        self._budget_ms = 0.0

    def outcome(self) -> Outcome:
        warm = {name: found for name in self._grid.names(self._case) if (found := self._warmed(name))}
        if self._case.is_calibrated and OURS in warm:
            self._calibrate(warm[OURS])
        for repetition in range(self._plan.repeats):
            order = list(warm) if repetition % 2 == 0 else list(reversed(warm))
            for name in order:
                if name not in self._failures:
                    self._run(name, warm[name], repetition)
        finished = {name: runs for name, runs in self._runs.items() if name not in self._failures}
        return Outcome(self._case, finished, self._failures, self._facts, self._traces)

    def _warmed(self, name: str) -> Contestant | None:
        """Return a contestant that has run a small load; None when it cannot or does not do this case."""
        try:
            contestant, ready = self._grid.ready(name, self._case, self._setup)
            if ready.cases and self._case.name not in ready.cases:
                return None
            contestant.run(self._load(name, WARM_UP))
        except ContestantFailed as error:
            self._fail(name, error)
            return None
        self._facts[name] = {"version": ready.version, **ready.facts}
        return contestant

    def _calibrate(self, ours: Contestant) -> None:
        """Give the running streams twice what they take, in the end, when nothing disturbs them."""
        *running, _ = self._case.load(self._plan.draw(self._case, CALIBRATION)).streams
        try:
            self._budget_ms = TARGET_OVER_IDLE * idle_gap_ms(ours.run(Load(tuple(running))))
        except ContestantFailed as error:
            self._fail(OURS, error)

    def _run(self, name: str, contestant: Contestant, repetition: int) -> None:
        load = self._load(name, repetition)
        try:
            done = contestant.run(load)
        except ContestantFailed as error:
            self._fail(name, error)
            return
        figures = self._case.figures(load, done)
        if self._case.is_calibrated:
            self._traces[name] = gaps_of_the_first(done)
        self._runs.setdefault(name, []).append(figures)
        self._tell(
            f"{self._case.name} {repetition + 1}: {name} {figures[self._case.headline]:.4g} {self._case.headline}"
        )

    def _load(self, name: str, repetition: int) -> Load:
        load = self._case.load(self._plan.draw(self._case, repetition))
        variant = self._case.variants.get(name)
        changes = {**(variant.stream if variant is not None else {})}
        if self._case.is_calibrated:
            changes["tpot_budget_ms"] = self._budget_ms
        streams = tuple(msgspec.structs.replace(stream, **changes) for stream in load.streams)
        return msgspec.structs.replace(load, streams=streams)

    def _fail(self, name: str, error: ContestantFailed) -> None:
        self._failures[name] = str(error)
        self._grid.drop(name)
        self._tell(f"{self._case.name}: {error}")


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
