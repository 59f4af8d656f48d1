"""`tierline bench operator`, from options to the JSON file.

Fleets are applied to a real API server with an etcd of its own; nodes only pretend to run pods. What is measured:
from applying a fleet to the last of its worker pods, at a steady rate of changes beside all that is there; from the
start of a new operator to the end of its first look at everything; its share of a core when nothing happens; its
resident memory; and its writes for each new fleet.
"""

import asyncio
import datetime
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tierline.telemetry.percentiles import nearest_rank
from tierline_cli.bench.crds import install_crds, read_crds
from tierline_cli.bench.hardware import describe_hardware, revision
from tierline_cli.bench.operator.fleets import PodWatch, create_fleet, create_tier
from tierline_cli.bench.operator.process import OperatorProcess, cpu_by_program, running_operator, until_looked
from tierline_devcluster.cluster import ClusterOptions, RunningCluster, start
from tierline_devcluster.nodes import NodeSpec
from tierline_operator.cluster import Cluster

HEARTBEAT_SECONDS = 10.0
"""As kubelets do it: 500 nodes that tell every second that they live would be most of the API server's work."""

PODS_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class OperatorSizes:
    """How much is there, how many changes are measured, at which rate they come, and what counts as quiet."""

    fleets: int = 1000
    pods_per_fleet: int = 5
    nodes: int = 500
    changes: int = 100
    changes_per_second: float = 10.0
    settle_seconds: float = 20.0
    idle_seconds: float = 30.0

    @classmethod
    def small(cls) -> "OperatorSizes":
        return cls(fleets=40, nodes=10, changes=10, settle_seconds=3, idle_seconds=10)


@dataclass(frozen=True, slots=True)
class OperatorBenchOptions:
    """What to run."""

    json_file: Path
    sources: Path
    cache_dir: Path
    sizes: OperatorSizes


def run_operator_bench(options: OperatorBenchOptions, console: Console) -> int:
    """Run the experiments and write the JSON file; raises `CommandFailed` and `DevclusterError`."""
    sizes = options.sizes
    nodes = tuple(NodeSpec(f"node-{at}", f"zone-{at % 3}", cpus=64) for at in range(sizes.nodes))
    with tempfile.TemporaryDirectory(prefix="tl") as folder:
        cluster = ClusterOptions(
            name="bench",
            state_dir=Path(folder) / "s",
            nodes=nodes,
            prometheus=False,
            runs_processes=False,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            cache_dir=options.cache_dir,
        )
        with start(cluster) as running:
            console.print(f"{sizes.nodes} nodes are ready")
            crds = read_crds(options.sources)
            figures = asyncio.run(_measure(running, Path(folder), crds, options.sizes, console))
    document = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "revision": revision(options.sources),
        "hardware": describe_hardware(),
        "sizes": asdict(sizes),
        **figures,
    }
    options.json_file.parent.mkdir(parents=True, exist_ok=True)
    options.json_file.write_text(json.dumps(document, indent=2) + "\n")
    console.print_json(data=figures)
    return 0


async def _measure(
    running: RunningCluster, folder: Path, crds: Sequence[dict[str, Any]], sizes: OperatorSizes, console: Console
) -> dict[str, Any]:
    log = running.log_dir / "operator.log"
    cluster = Cluster(str(running.kubeconfig))
    try:
        await install_crds(cluster, crds)
        await create_tier(cluster)
        watch = PodWatch(cluster, sizes.pods_per_fleet)
        watching = asyncio.create_task(watch.run())
        async with running_operator(running.kubeconfig, log) as operator:
            await _fill(cluster, watch, sizes)
            console.print(f"{sizes.fleets} fleets have their workers")
            await _until_quiet(operator, sizes)
            figures = await _changes(cluster, watch, operator, sizes, folder)
            await _until_quiet(operator, sizes)
        started = time.monotonic()
        async with running_operator(running.kubeconfig, log) as operator:
            await until_looked(operator, sizes.fleets + sizes.changes)
            figures["start_seconds"] = round(time.monotonic() - started, 2)
            figures |= await _idle(operator, sizes, folder)
        watching.cancel()
        return figures
    finally:
        await cluster.close()


async def _fill(cluster: Cluster, watch: PodWatch, sizes: OperatorSizes) -> None:
    names = {f"full-{at}" for at in range(sizes.fleets)}
    for name in sorted(names):
        await create_fleet(cluster, name, sizes.pods_per_fleet)
    async with asyncio.timeout(PODS_SECONDS):
        await watch.until(names)


async def _changes(
    cluster: Cluster, watch: PodWatch, operator: OperatorProcess, sizes: OperatorSizes, folder: Path
) -> dict[str, Any]:
    writes, requests, applied = await operator.writes(), await operator.requests(), dict[str, float]()
    began, spent = time.monotonic(), _spent(operator, folder)
    for at in range(sizes.changes):
        await asyncio.sleep(max(0.0, began + at / sizes.changes_per_second - time.monotonic()))
        applied[f"new-{at}"] = time.monotonic()
        await create_fleet(cluster, f"new-{at}", sizes.pods_per_fleet)
    async with asyncio.timeout(PODS_SECONDS):
        await watch.until(applied)
    shares = _shares(spent, _spent(operator, folder), time.monotonic() - began)
    took_ms = sorted(1000 * (watch.complete_at[name] - moment) for name, moment in applied.items())
    await _until_quiet(operator, sizes)
    return {
        "apply_to_pods_ms": {name: round(nearest_rank(took_ms, at), 1) for name, at in (("p50", 50), ("p99", 99))},
        "writes_per_change": round((await operator.writes() - writes) / sizes.changes, 1),
        "api_calls_per_change": round((await operator.requests() - requests) / sizes.changes, 1),
        "cpu_percent_while_changing": shares,
    }


def _spent(operator: OperatorProcess, folder: Path) -> Mapping[str, float]:
    """Return the CPU seconds of all that work here: the operator, the cluster's processes, and this one."""
    return {**cpu_by_program(folder), "operator": operator.cpu_seconds(), "bench": time.process_time()}


def _shares(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> Mapping[str, float]:
    """Return who used how many percent of a core, by program."""
    return {name: round(100 * (used - before.get(name, 0.0)) / seconds, 1) for name, used in sorted(after.items())}


async def _idle(operator: OperatorProcess, sizes: OperatorSizes, folder: Path) -> dict[str, Any]:
    await _until_quiet(operator, sizes)
    before, spent = operator.cpu_seconds(), _spent(operator, folder)
    await asyncio.sleep(sizes.idle_seconds)
    used = operator.cpu_seconds() - before
    return {
        "idle_cpu_percent": round(100 * used / sizes.idle_seconds, 2),
        "cpu_percent_while_idle": _shares(spent, _spent(operator, folder), sizes.idle_seconds),
        "memory_mb": round(operator.memory_mb(), 1),
    }


async def _until_quiet(operator: OperatorProcess, sizes: OperatorSizes) -> None:
    """Wait until the operator has written nothing for a while."""
    async with asyncio.timeout(PODS_SECONDS):
        before = -1.0
        while (now := await operator.writes()) != before:
            before = now
            await asyncio.sleep(sizes.settle_seconds)
