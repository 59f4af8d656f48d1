"""`tierline bench operator`, from options to the JSON file.

Fleets are applied to a real API server with an etcd of its own; nodes only pretend to run pods. What is measured:
from applying a fleet to the last of its worker pods, at a steady rate of changes beside all that is there; from the
start of a new operator to the end of its first look at everything; its share of a core when nothing happens; its
resident memory; and its writes for each new fleet.
"""

import asyncio
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from tierline_cli.bench.crds import install_crds, read_crds
from tierline_cli.bench.operator.fleets import create_tier
from tierline_cli.bench.operator.phases import Bench, OperatorSizes
from tierline_cli.bench.operator.process import running_operator
from tierline_cli.bench.operator.report import Report
from tierline_cli.bench.operator.stations import Stations
from tierline_devcluster.cluster import ClusterOptions, RunningCluster, start
from tierline_devcluster.nodes import NodeSpec
from tierline_operator.cluster import Cluster

HEARTBEAT_SECONDS = 10.0
"""As kubelets do it: 500 nodes that tell every second that they live would be most of the API server's work."""
NODE_STATUS_SECONDS = 300.0
"""As kubelets do it while nothing of a node changes: their leases say that they live."""
POD_NETWORK = "239.20.0.0"
"""Endpoints refuse loopback addresses, and their controller tries again. Nobody listens at these, which are multicast:
to connect to one fails at once, and nothing leaves the machine."""


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
    report = Report(options.json_file, options.sources, asdict(sizes), console)
    nodes = tuple(NodeSpec(f"node-{at}", f"zone-{at % 3}", cpus=64) for at in range(sizes.nodes))
    with tempfile.TemporaryDirectory(prefix="tl") as folder:
        cluster = ClusterOptions(
            name="bench",
            state_dir=Path(folder) / "s",
            nodes=nodes,
            prometheus=False,
            runs_processes=False,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            node_status_seconds=NODE_STATUS_SECONDS,
            pod_network=POD_NETWORK,
            cache_dir=options.cache_dir,
        )
        with start(cluster) as running:
            report.say(f"{sizes.nodes} nodes are ready")
            asyncio.run(_measure(running, Path(folder), options, report))
    report.end()
    return 0


async def _measure(running: RunningCluster, folder: Path, options: OperatorBenchOptions, report: Report) -> None:
    log = options.json_file.with_suffix(".log")
    cluster = Cluster(str(running.kubeconfig))
    try:
        await install_crds(cluster, read_crds(options.sources))
        await create_tier(cluster)
        stations = Stations(cluster, options.sizes.pods_per_fleet)
        bench = Bench(cluster, stations, folder, options.sizes, report)
        watching = asyncio.create_task(stations.run())
        async with running_operator(running.kubeconfig, log) as operator:
            await bench.fill(operator)
            await bench.until_quiet(operator)
            await bench.change(operator)
        watching.cancel()
        started = time.monotonic()
        async with running_operator(running.kubeconfig, log) as operator:
            await bench.start(operator, started)
            await bench.rest(operator)
    finally:
        await cluster.close()
