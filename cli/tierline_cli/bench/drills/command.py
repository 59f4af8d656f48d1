"""`tierline bench drills`, from options to the JSON file.

Two replicas of the operator, five fleets of two workers, nodes that only pretend; the API server, the scheduler, the
leases and the faults are real. Each kind has a fleet of its own and they run beside each other, but `OperatorDown`,
which hits all fleets, runs alone. A run is added to what its file holds already, so a long one may be made in parts.
"""

import asyncio
import datetime
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tierline.telemetry.percentiles import nearest_rank
from tierline_cli.bench.crds import install_crds, read_crds
from tierline_cli.bench.drills.replicas import operator_replicas
from tierline_cli.bench.drills.rounds import KINDS, TIER, DrillKind, DrillOutcome, furnish, gateway_address, run_drill
from tierline_cli.bench.drills.stand_in import standing_in
from tierline_cli.bench.hardware import describe_hardware, revision
from tierline_cli.errors import CommandFailed
from tierline_devcluster.cluster import ClusterOptions, RunningCluster, start
from tierline_devcluster.nodes import NodeSpec
from tierline_operator.cluster import Cluster

NODES, REPLICAS = 12, 2
ALONE = "OperatorDown"
LOG = "operator.log"


@dataclass(frozen=True, slots=True)
class DrillBenchOptions:
    """Which kinds to run, how often each."""

    json_file: Path
    sources: Path
    cache_dir: Path
    kinds: Sequence[str] = ()
    times: int = 20


def run_drill_bench(options: DrillBenchOptions, console: Console) -> int:
    """Run the drills and write the JSON file; returns 1 when one did not pass. Raises `CommandFailed`."""
    kinds = _kinds(options.kinds)
    before = _held(options.json_file)
    nodes = tuple(NodeSpec(f"node-{at}", f"zone-{at % 3}", cpus=64) for at in range(NODES))
    with tempfile.TemporaryDirectory(prefix="tl") as folder:
        cluster = ClusterOptions(
            name="drills",
            state_dir=Path(folder) / "s",
            nodes=nodes,
            prometheus=False,
            runs_processes=False,
            cache_dir=options.cache_dir,
        )
        with start(cluster) as running:
            outcomes = asyncio.run(_measure(running, options, kinds, console))
            _keep_log(running.log_dir / LOG, options.json_file.with_suffix(".log"))
    runs = [*before, *({**asdict(it), "revision": revision(options.sources)} for it in outcomes)]
    document = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": describe_hardware(),
        "bounds_seconds": {kind.name: kind.recovery for kind in KINDS},
        "kinds": summary(runs),
        "runs": runs,
    }
    options.json_file.parent.mkdir(parents=True, exist_ok=True)
    options.json_file.write_text(json.dumps(document, indent=2) + "\n")
    console.print_json(data=document["kinds"])
    return int(not all(it.passed for it in outcomes))


def summary(runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return by kind how many drills passed, and how long they took."""
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        by_kind.setdefault(run["kind"], []).append(run)
    return {kind: _summary(of_kind) for kind, of_kind in by_kind.items()}


def _summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    recoveries = sorted(run["recovery_seconds"] for run in runs if run["recovery_seconds"] is not None)
    seconds = sorted(run["seconds"] for run in runs)
    return {
        "runs": len(runs),
        "passed": sum(run["passed"] for run in runs),
        "recovery_seconds": {"p50": nearest_rank(recoveries, 50), "max": recoveries[-1]} if recoveries else None,
        "seconds": {"p50": nearest_rank(seconds, 50), "max": seconds[-1]},
        "not_kept": [run["message"] for run in runs if not run["passed"]],
    }


def _kinds(names: Sequence[str]) -> tuple[DrillKind, ...]:
    known = {kind.name: kind for kind in KINDS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise CommandFailed(f"--kind {unknown[0]!r} is not known: use one of {', '.join(known)}")
    return tuple(known[name] for name in names) or KINDS


def _keep_log(log: Path, kept: Path) -> None:
    """Keep what the operators said beside the figures: a failure is a race to be found there."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(log, kept)


def _held(file: Path) -> list[dict[str, Any]]:
    return list(json.loads(file.read_text())["runs"]) if file.exists() else []


async def _measure(
    running: RunningCluster, options: DrillBenchOptions, kinds: Sequence[DrillKind], console: Console
) -> list[DrillOutcome]:
    cluster = Cluster(str(running.kubeconfig))
    fleets = {kind.name: kind.name.lower() for kind in kinds}
    try:
        await install_crds(cluster, read_crds(options.sources))
        async with AsyncExitStack() as stack:
            log = running.log_dir / LOG
            await stack.enter_async_context(operator_replicas(running.kubeconfig, log, REPLICAS))
            await furnish(cluster, fleets.values())
            for fleet in fleets.values():
                host = await gateway_address(cluster, fleet)
                await stack.enter_async_context(standing_in(host, TIER))
            console.print(f"{len(fleets)} fleets are ready")
            beside = [_repeat(cluster, kind, options.times, console) for kind in kinds if kind.name != ALONE]
            found = [it for outcomes in await asyncio.gather(*beside) for it in outcomes]
            for kind in kinds:
                found += await _repeat(cluster, kind, options.times, console) if kind.name == ALONE else []
        return found
    finally:
        await cluster.close()


async def _repeat(cluster: Cluster, kind: DrillKind, times: int, console: Console) -> list[DrillOutcome]:
    found = []
    for number in range(times):
        outcome = await run_drill(cluster, kind.name.lower(), kind, number)
        console.print(f"{kind.name} {number + 1}: {'passed' if outcome.passed else outcome.message}")
        found.append(outcome)
    return found
