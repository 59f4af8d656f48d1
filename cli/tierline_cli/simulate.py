"""`tierline simulate`: a scenario under one policy, its scorecard on screen and as JSON."""

import json
import time
from pathlib import Path

from rich.console import Console

from tierline.sim.ladder import LADDER
from tierline.sim.recorded import InvalidRecording
from tierline.sim.run import SimulationResult, simulate
from tierline.sim.scenario import InvalidScenario, load_scenario
from tierline.telemetry.scorecard import Scorecard
from tierline_cli.errors import CommandFailed
from tierline_cli.screen import scorecard_view


def run_simulation(path: Path, policy: str, seed: int | None, json_file: Path | None, console: Console) -> None:
    """Simulate, show, and write `json_file` if given; raises `CommandFailed`."""
    if policy not in LADDER:
        raise CommandFailed(f"--policy {policy!r} is not known: use one of {', '.join(LADDER)}")
    began_s = time.perf_counter()
    try:
        scenario = load_scenario(path)
        result = simulate(scenario, LADDER[policy], scenario.seed if seed is None else seed, path.parent)
    except (InvalidScenario, InvalidRecording) as error:
        raise CommandFailed(str(error)) from error
    wall_s = time.perf_counter() - began_s
    scorecard = result.scorecard()
    _show(result, scorecard, wall_s, console)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result.document(scorecard), indent=2) + "\n")


def _show(result: SimulationResult, scorecard: Scorecard, wall_s: float, console: Console) -> None:
    workers, simulated_s = len(result.fleet_run.workers), result.fleet_run.duration_ms / 1000
    console.print(f"[bold]{result.scenario.name}[/bold] under {result.policy.name}, seed {result.seed}")
    console.print(scorecard_view(scorecard, {target.name: target for target in result.facts.tiers}))
    speed = simulated_s * workers / max(wall_s, 1e-9)
    console.print(f"{simulated_s:,.0f} s on {workers} workers in {wall_s:.1f} s: {speed:,.0f}x real time per worker")
