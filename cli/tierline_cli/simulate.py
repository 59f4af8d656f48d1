"""`tierline simulate`: a scenario under one policy or several, on screen, as JSON and as a page."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tierline.sim.comparison import Comparison, compare
from tierline.sim.ladder import LADDER
from tierline.sim.recorded import InvalidRecording
from tierline.sim.replaced_traffic import with_traffic_of
from tierline.sim.run import SimulationResult, simulate
from tierline.sim.scenario import InvalidScenario, Scenario, load_scenario
from tierline.telemetry.scorecard import Scorecard
from tierline_cli.errors import CommandFailed
from tierline_cli.report.comparison import write_comparison
from tierline_cli.screen import scorecard_view


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """What the user asked for; `loads` are percent of the scenario's, `trace` is sent instead of its traffic."""

    scenario: Path
    policies: tuple[str, ...]
    loads: tuple[float, ...]
    seed: int | None
    json_file: Path | None
    html_file: Path | None
    trace: Path | None = None


def simulate_options(  # noqa: PLR0917 one for each option of the command
    scenario: Path, policy: str, everyone: bool, load: str, seed: int | None, json_file: Path | None, html: Path | None
) -> SimulateOptions:
    """Check what was given on the command line; raises `CommandFailed`."""
    policies = tuple(LADDER) if everyone else tuple(dict.fromkeys(name.strip() for name in policy.split(",")))
    for name in policies:
        if name not in LADDER:
            raise CommandFailed(f"--policy {name!r} is not known: use some of {', '.join(LADDER)}")
    several = len(policies) > 1
    if not several and (load or html is not None):
        raise CommandFailed("--load and --html compare policies: name several with --policy, or use --compare")
    page = Path("out/simulate") / f"{scenario.stem}.html" if several and html is None else html
    return SimulateOptions(scenario, policies, parse_loads(load), seed, json_file, page)


def run_simulation(options: SimulateOptions, console: Console) -> None:
    """Simulate, show, and write the files that are asked for; raises `CommandFailed`."""
    try:
        scenario = load_scenario(options.scenario)
        if options.trace is not None:
            scenario = with_traffic_of(scenario, options.trace)
        seed = scenario.seed if options.seed is None else options.seed
        if options.html_file is None:
            document = _one(scenario, options, seed, console)
        else:
            document = _several(scenario, options, seed, console)
    except (InvalidScenario, InvalidRecording) as error:
        raise CommandFailed(str(error)) from error
    if options.json_file is not None:
        options.json_file.parent.mkdir(parents=True, exist_ok=True)
        options.json_file.write_text(json.dumps(document, indent=2) + "\n")


def _one(scenario: Scenario, options: SimulateOptions, seed: int, console: Console) -> dict[str, Any]:
    began_s = time.perf_counter()
    result = simulate(scenario, LADDER[options.policies[0]], seed, options.scenario.parent)
    wall_s = time.perf_counter() - began_s
    scorecard = result.scorecard()
    _show(result, scorecard, wall_s, console)
    return result.document(scorecard)


def _several(scenario: Scenario, options: SimulateOptions, seed: int, console: Console) -> dict[str, Any]:
    assert options.html_file is not None, "comparisons have a page"
    loads = [load / 100 for load in options.loads]
    comparison = compare(scenario, options.policies, seed, options.scenario.parent, loads)
    write_comparison(comparison, options.html_file)
    console.print(f"[bold]{scenario.name}[/bold], seed {seed}, requests that met their tier")
    console.print(_attainments(comparison))
    console.print(f"written to {options.html_file}")
    return comparison.document()


def parse_loads(text: str) -> tuple[float, ...]:
    """Return percents from a list with commas; raises `CommandFailed`."""
    try:
        loads = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise CommandFailed(f"--load {text!r} must be percents, like 50,75,125") from None
    if any(not 0 < load <= 1000 for load in loads):
        raise CommandFailed(f"--load {text!r} must be above 0 and at most 1000 percent")
    return loads


def _attainments(comparison: Comparison) -> Table:
    tiers = next(iter(comparison.results.values())).facts.tiers
    table = Table(box=None, pad_edge=False)
    table.add_column("policy", style="bold")
    for heading in ("load", *(tier.name for tier in tiers), "all", "in time /s", "goodput"):
        table.add_column(heading, justify="right")
    for name, points in comparison.points.items():
        for point in points:
            shares: Sequence[float] = [*(point.attainment[tier.name] for tier in tiers), point.requests]
            cells = [f"{100 * share:.1f} %" for share in shares]
            figures = (f"{point.in_time_per_second:.1f}", f"{100 * point.tokens:.1f} %")
            table.add_row(name, f"{100 * point.load:.0f} %", *cells, *figures)
    return table


def _show(result: SimulationResult, scorecard: Scorecard, wall_s: float, console: Console) -> None:
    workers, simulated_s = len(result.fleet_run.workers), result.fleet_run.duration_ms / 1000
    console.print(f"[bold]{result.scenario.name}[/bold] under {result.policy.name}, seed {result.seed}")
    console.print(scorecard_view(scorecard, {target.name: target for target in result.facts.tiers}))
    speed = simulated_s * workers / max(wall_s, 1e-9)
    console.print(f"{simulated_s:,.0f} s on {workers} workers in {wall_s:.1f} s: {speed:,.0f}x real time per worker")
