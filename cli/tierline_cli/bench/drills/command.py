"""`tierline bench drills`, from options to the JSON file.

Two replicas of the operator, five fleets of two workers, nodes that only pretend; the API server, the scheduler, the
leases and the faults are real. Each kind has a fleet of its own and they run beside each other, but `OperatorDown`,
which hits all fleets, runs alone. A run is added to what its file holds already, so a long one may be made in parts.
"""

import asyncio
import datetime
import json
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


@dataclass(frozen=True, slots=True)
class DrillBenchOptions:
    """Which kinds to run, how often each."""

    json_file: Path
    sources: Path
    cache_dir: Path
    kinds: Sequence[str] = ()
    times: int = 20


class RunBook:
    """The file of runs. Each is written down when it ends, so that a bench that is cut short has not been in vain."""

    def __init__(self, file: Path, of_revision: str, console: Console) -> None:
        self._file = file
        self._revision = of_revision
        self._console = console
        self._hardware = describe_hardware()
        self.runs: list[Mapping[str, Any]] = list(json.loads(file.read_text())["runs"]) if file.exists() else []
        self.all_passed = True
        file.parent.mkdir(parents=True, exist_ok=True)

    @property
    def log(self) -> Path:
        """Where the operators' words are kept: a failure is a race to be found there."""
        return self._file.with_suffix(".log")

    def add(self, outcome: DrillOutcome) -> None:
        """Write down one run."""
        self._console.print(f"{outcome.kind} in {outcome.seconds} s: {'passed' if outcome.passed else outcome.message}")
        self.all_passed = self.all_passed and outcome.passed
        self.runs.append({**asdict(outcome), "revision": self._revision})
        document = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "hardware": self._hardware,
            "bounds_seconds": {kind.name: kind.recovery for kind in KINDS},
            "kinds": summary(self.runs),
            "runs": self.runs,
        }
        self._file.write_text(json.dumps(document, indent=2) + "\n")


def run_drill_bench(options: DrillBenchOptions, console: Console) -> int:
    """Run the drills and write the JSON file; returns 1 when one did not pass. Raises `CommandFailed`."""
    kinds = _kinds(options.kinds)
    book = RunBook(options.json_file, revision(options.sources), console)
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
            asyncio.run(_measure(running, options, kinds, book))
    console.print_json(data=summary(book.runs))
    return int(not book.all_passed)


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


async def _measure(
    running: RunningCluster, options: DrillBenchOptions, kinds: Sequence[DrillKind], book: RunBook
) -> None:
    cluster = Cluster(str(running.kubeconfig))
    fleets = {kind.name: kind.name.lower() for kind in kinds}
    try:
        await install_crds(cluster, read_crds(options.sources))
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(operator_replicas(running.kubeconfig, book.log, REPLICAS))
            await furnish(cluster, fleets.values())
            for fleet in fleets.values():
                host = await gateway_address(cluster, fleet)
                await stack.enter_async_context(standing_in(host, TIER))
            beside = [_repeat(cluster, kind, options.times, book) for kind in kinds if kind.name != ALONE]
            await asyncio.gather(*beside)
            for kind in kinds:
                if kind.name == ALONE:
                    await _repeat(cluster, kind, options.times, book)
    finally:
        await cluster.close()


async def _repeat(cluster: Cluster, kind: DrillKind, times: int, book: RunBook) -> None:
    for number in range(times):
        book.add(await run_drill(cluster, kind.name.lower(), kind, number))
