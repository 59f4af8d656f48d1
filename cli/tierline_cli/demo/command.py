"""The demo from first step to last: cluster, chart, examples, load with a reclaim, scorecard, teardown."""

import asyncio
import shlex
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
from rich.console import Console

from tierline.artifacts import resolve
from tierline.artifacts.source import ModelSourceError
from tierline_cli.demo.cluster_view import ClusterView, GatewayAddress
from tierline_cli.demo.examples import Examples, load_examples
from tierline_cli.demo.experiment import Experiment, Findings
from tierline_cli.demo.options import CLUSTER_NAME, NAMESPACE, NODES, RELEASE, SYSTEM_NAMESPACE, DemoOptions
from tierline_cli.demo.outcome import Outcome, show_outcome, write_outcome
from tierline_cli.demo.programs import Programs
from tierline_cli.demo.traffic import demo_workload
from tierline_cli.dump import dump_cluster
from tierline_cli.errors import CommandFailed
from tierline_cli.steps import Steps
from tierline_devcluster.agent.apiserver.client import Api, ApiError
from tierline_devcluster.agent.apiserver.credentials import load_access
from tierline_devcluster.cluster import ClusterOptions, RunningCluster, start
from tierline_devcluster.errors import DevclusterError
from tierline_devcluster.provision.tooling import helm_path, kubectl_path

STEPS = 8
FLEET_READY_SECONDS = 120.0
BLOCK_TOKENS = 16
BROKEN = (CommandFailed, DevclusterError, ApiError, aiohttp.ClientError, msgspec.MsgspecError, OSError)
"""What a part of the system that does not answer, or answers nonsense, looks like from here."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """A cluster with the fleet on it."""

    cluster: RunningCluster
    programs: Programs
    examples: Examples


def run_demo(options: DemoOptions, console: Console) -> int:
    """Run the demo and return the exit code; raises `CommandFailed` for what broke."""
    steps = Steps(console, STEPS)
    examples = load_examples(options.examples, NAMESPACE)
    with steps.step("model, kubectl and Helm, fetched once"):
        programs = _fetch(options, examples)
    with steps.step(f"control plane and {len(NODES)} nodes, two of them spot"):
        cluster = start(_cluster_options(options), steps)
    stage = _Stage(cluster, Programs(*programs, cluster.kubeconfig), examples)
    outcome = _perform_or_dump(stage, options, steps, console)
    if outcome.problems:
        _dump(cluster, options, console)
    _finish(stage, options, steps, console)
    show_outcome(outcome, examples, options.out, console)
    for problem in outcome.problems:
        console.print(f"[red]not kept:[/red] {problem}", highlight=False)
    return 1 if outcome.problems else 0


def _fetch(options: DemoOptions, examples: Examples) -> tuple[Path, Path]:
    try:
        resolve(examples.model_source, options.cache_dir)
    except ModelSourceError as error:
        raise CommandFailed(str(error)) from error
    return helm_path(options.cache_dir), kubectl_path(options.cache_dir)


def _cluster_options(options: DemoOptions) -> ClusterOptions:
    return ClusterOptions(name=CLUSTER_NAME, nodes=NODES, detach=options.keep, cache_dir=options.cache_dir)


def _perform_or_dump(stage: _Stage, options: DemoOptions, steps: Steps, console: Console) -> Outcome:
    """Perform; what breaks is written down before the cluster ends, an interrupt only ends it."""
    try:
        return _perform(stage, options, steps)
    except BROKEN as error:
        _dump(stage.cluster, options, console)
        _stop(stage, options)
        raise CommandFailed(f"step {steps.current!r}: {error}") from error
    except BaseException:
        _stop(stage, options)
        raise


def _stop(stage: _Stage, options: DemoOptions) -> None:
    if not options.keep:
        stage.cluster.stop()


def _perform(stage: _Stage, options: DemoOptions, steps: Steps) -> Outcome:
    with steps.step("Helm installs Tierline"):
        stage.programs.install(RELEASE, options.chart, SYSTEM_NAMESPACE)
    with steps.step("kubectl applies tiers, tenants and the fleet"):
        stage.programs.apply(options.examples, NAMESPACE)
    findings = asyncio.run(_measure(stage, options, steps))
    with steps.step("scorecard and report"):
        version = str(stage.cluster.api_version)
        return write_outcome(findings, stage.examples, version, options.out)


async def _measure(stage: _Stage, options: DemoOptions, steps: Steps) -> Findings:
    workload = demo_workload(stage.examples, options.seconds, options.seed)
    async with Api(load_access(stage.cluster.kubeconfig)) as api:
        view = ClusterView(api, NAMESPACE, stage.examples.fleet)
        with steps.step("the operator brings gateway and workers up"):
            await view.await_ready(FLEET_READY_SECONDS)
            gateway = await view.gateway()
            steps.tell(await _placement(view, gateway))
        with steps.step(f"{len(workload)} requests of three tenants, a spot node reclaimed in the middle"):
            experiment = Experiment(
                view, gateway, stage.cluster.kubeconfig, stage.examples, workload, options.seconds, BLOCK_TOKENS
            )
            return await experiment.run(steps)


async def _placement(view: ClusterView, gateway: GatewayAddress) -> str:
    workers = ", ".join(f"{pod.name} on {pod.node}" for pod in await view.workers())
    return f"{workers}; gateway on {gateway.pod.node}"


def _dump(cluster: RunningCluster, options: DemoOptions, console: Console) -> None:
    folder = dump_cluster(cluster.kubeconfig, options.out / "dump")
    console.print(
        f"objects and logs of all pods: {folder}\nlogs of the control plane: {cluster.log_dir}", highlight=False
    )


def _finish(stage: _Stage, options: DemoOptions, steps: Steps, console: Console) -> None:
    if options.keep:
        with steps.step("left running"):
            gateway = asyncio.run(_find_gateway(stage))
        _explain(stage, gateway, console)
        return
    with steps.step("teardown"):
        stage.cluster.stop()


async def _find_gateway(stage: _Stage) -> GatewayAddress:
    async with Api(load_access(stage.cluster.kubeconfig)) as api:
        return await ClusterView(api, NAMESPACE, stage.examples.fleet).gateway()


def _explain(stage: _Stage, gateway: GatewayAddress, console: Console) -> None:
    tenant, key = next(iter(stage.examples.api_keys.items()))
    body = (
        f'{{"model": "{stage.examples.model}", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'
    )
    lines = (
        f"export KUBECONFIG={shlex.quote(str(stage.cluster.kubeconfig))} PATH={stage.programs.kubectl.parent}:$PATH",
        "kubectl get tiers,tq,fleets,wp,pods,nodes",
        f"curl -N {gateway.api_url}/chat/completions -H 'Authorization: Bearer {key}' \\",
        f"  -H 'Content-Type: application/json' -d '{body}'   # as tenant {tenant}",
        f"tierline-devcluster down --name {CLUSTER_NAME}",
    )
    console.print("\nTalk to it:", *(f"  {line}" for line in lines), sep="\n", highlight=False, soft_wrap=True)


def default_sources() -> Path:
    """Return the folder that holds the chart and the examples: here, or the checkout this package is installed from."""
    checkout = Path(__file__).resolve().parents[3]
    return Path.cwd() if (Path.cwd() / "charts" / "tierline").is_dir() else checkout
