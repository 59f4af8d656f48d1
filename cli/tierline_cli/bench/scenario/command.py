"""`tierline bench scenario`, from options to the JSON file."""

import asyncio
import datetime
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tierline.artifacts import ModelSourceError, resolve
from tierline.sim.recorded import InvalidRecording
from tierline.sim.run import compiled_tiers, planned_requests, tier_targets
from tierline.sim.scenario import InvalidScenario, Scenario, load_scenario
from tierline.sim.workload import PlannedRequest
from tierline_cli.bench.hardware import describe_hardware, revision
from tierline_cli.bench.scenario.house import started
from tierline_cli.bench.scenario.play import Play, at_load, longest_plan_seconds, play
from tierline_cli.errors import CommandFailed

WARM_UP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class ScenarioBenchOptions:
    """What to play and on what. `alone` names a tenant whose requests are also played without all others'."""

    scenario_file: Path
    json_file: Path
    loads: Sequence[float]
    alone: str
    seed: int | None
    model: str
    dtype: str
    sources: Path
    cache_dir: Path


def run_scenario_bench(options: ScenarioBenchOptions, console: Console) -> int:
    """Play the scenario and write the JSON file; returns 1 when a token was lost or doubled. Raises `CommandFailed`."""
    try:
        scenario = load_scenario(options.scenario_file)
        document = _header(options, scenario)
        plays = _plays(options, scenario, console)
    except (InvalidScenario, InvalidRecording, ModelSourceError) as error:
        raise CommandFailed(str(error)) from error
    document["hardware"]["load_1m_after"] = round(os.getloadavg()[0], 2)
    document["plays"] = [each.document() for each in plays]
    options.json_file.parent.mkdir(parents=True, exist_ok=True)
    options.json_file.write_text(json.dumps(document, indent=2) + "\n")
    _show(plays, console)
    return int(any(record.lost_tokens or record.doubled_tokens for each in plays for record in each.records))


def _header(options: ScenarioBenchOptions, scenario: Scenario) -> dict[str, Any]:
    if options.alone and options.alone not in {tenant.name for tenant in scenario.tenants}:
        names = ", ".join(tenant.name for tenant in scenario.tenants)
        raise CommandFailed(f"--alone {options.alone!r} is not a tenant of the scenario: use one of {names}")
    if scenario.faults:
        raise CommandFailed("faults can only be simulated here: remove them from the scenario, or use a FleetDrill")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "revision": revision(options.sources),
        "hardware": describe_hardware(),
        "scenario": scenario.name,
        "seconds": scenario.seconds,
        "model": options.model,
        "dtype": options.dtype,
        "workers": scenario.workers.count,
    }


def _plays(options: ScenarioBenchOptions, scenario: Scenario, console: Console) -> list[Play]:
    model = resolve(options.model, options.cache_dir)
    targets = tier_targets(compiled_tiers(scenario))
    plays: list[Play] = []
    with (
        tempfile.TemporaryDirectory(prefix="tierline-bench-") as logs,
        started(scenario, options.scenario_file, model, options.dtype, Path(logs)) as url,
    ):
        asyncio.run(play("warm-up", scenario, targets, _warm_up(scenario, options), url))
        for title, requests in _planned(scenario, options):
            plays.append(asyncio.run(play(title, scenario, targets, requests, url)))
            console.print(f"{title}: {plays[-1].requests_per_second_in_time:.2f} requests/s in time")
    return plays


def _planned(scenario: Scenario, options: ScenarioBenchOptions) -> Iterator[tuple[str, list[PlannedRequest]]]:
    whole = _requests(scenario, options, longest_plan_seconds(scenario.seconds, options.loads))
    if options.alone:
        alone = [request for request in whole if request.tenant == options.alone]
        yield f"{options.alone} alone", at_load(alone, 100, scenario.seconds)
    for percent in options.loads:
        yield f"{percent:g} %", at_load(whole, percent, scenario.seconds)


def _warm_up(scenario: Scenario, options: ScenarioBenchOptions) -> list[PlannedRequest]:
    """A few of the requests, so that the gateway knows its workers' speed before anything is measured."""
    return at_load(_requests(scenario, options, scenario.seconds), 100, WARM_UP_SECONDS)


def _requests(scenario: Scenario, options: ScenarioBenchOptions, seconds: float) -> Sequence[PlannedRequest]:
    longer = scenario.model_copy(update={"seconds": seconds})
    seed = scenario.seed if options.seed is None else options.seed
    return planned_requests(longer, seed, options.scenario_file.parent)


def _show(plays: Sequence[Play], console: Console) -> None:
    table = Table(
        "play", "req/s", "in time", "tier", "met", "TTFT p95", "TPOT p95 ms", "refused", box=None, pad_edge=False
    )
    for each in plays:
        found = each.document()
        for name, tier in found["scorecard"]["tiers"].items():
            refused = sum(record.tier == name and record.outcome.value == "rejected" for record in each.records)
            table.add_row(
                *(each.title, f"{found['requests_per_second']:.2f}", f"{each.requests_per_second_in_time:.2f}", name),
                *(f"{tier['attainment']:.1%}", _ms(tier["ttft_ms"]), _ms(tier["tpot_ms"]), str(refused)),
            )
    console.print(table)


def _ms(figures: dict[str, Any]) -> str:
    return "-" if figures["p95"] is None else f"{figures['p95']:,.0f}"
