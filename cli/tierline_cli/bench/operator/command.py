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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tierline.telemetry.percentiles import nearest_rank
from tierline_cli.bench.crds import install_crds, read_crds
from tierline_cli.bench.hardware import describe_hardware, revision
from tierline_cli.bench.operator.fleets import PodWatch, create_fleet, create_tier
from tierline_cli.bench.operator.process import OperatorProcess, running_operator, until_looked
from tierline_devcluster.cluster import ClusterOptions, RunningCluster, start
from tierline_devcluster.nodes import NodeSpec
from tierline_operator.cluster import Cluster

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
            cache_dir=options.cache_dir,
        )
        with start(cluster) as running:
            console.print(f"{sizes.nodes} nodes are ready")
            figures = asyncio.run(_measure(running, read_crds(options.sources), options.sizes, console))
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
    running: RunningCluster, crds: Sequence[dict[str, Any]], sizes: OperatorSizes, console: Console
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
            figures = await _changes(cluster, watch, operator, sizes)
            await _until_quiet(operator, sizes)
        started = time.monotonic()
        async with running_operator(running.kubeconfig, log) as operator:
            await until_looked(operator, 2 * (sizes.fleets + sizes.changes))
            figures["start_seconds"] = round(time.monotonic() - started, 2)
            figures |= await _idle(operator, sizes)
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
    cluster: Cluster, watch: PodWatch, operator: OperatorProcess, sizes: OperatorSizes
) -> dict[str, Any]:
    writes, applied = await operator.writes(), dict[str, float]()
    began = time.monotonic()
    for at in range(sizes.changes):
        await asyncio.sleep(max(0.0, began + at / sizes.changes_per_second - time.monotonic()))
        applied[f"new-{at}"] = time.monotonic()
        await create_fleet(cluster, f"new-{at}", sizes.pods_per_fleet)
    async with asyncio.timeout(PODS_SECONDS):
        await watch.until(applied)
    took_ms = sorted(1000 * (watch.complete_at[name] - moment) for name, moment in applied.items())
    await _until_quiet(operator, sizes)
    calls = (await operator.writes() - writes) / sizes.changes
    return {
        "apply_to_pods_ms": {name: round(nearest_rank(took_ms, at), 1) for name, at in (("p50", 50), ("p99", 99))},
        "api_calls_per_change": round(calls, 1),
    }


async def _idle(operator: OperatorProcess, sizes: OperatorSizes) -> dict[str, Any]:
    await _until_quiet(operator, sizes)
    before = operator.cpu_seconds()
    await asyncio.sleep(sizes.idle_seconds)
    used = operator.cpu_seconds() - before
    return {
        "idle_cpu_percent": round(100 * used / sizes.idle_seconds, 2),
        "memory_mb": round(operator.memory_mb(), 1),
    }


async def _until_quiet(operator: OperatorProcess, sizes: OperatorSizes) -> None:
    """Wait until the operator has written nothing for a while."""
    async with asyncio.timeout(PODS_SECONDS):
        before = -1.0
        while (now := await operator.writes()) != before:
            before = now
            await asyncio.sleep(sizes.settle_seconds)
