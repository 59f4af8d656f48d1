"""The command `tierline-devcluster`: a real Kubernetes cluster on this machine, up, down and broken on purpose."""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from aiohttp import ClientError
from rich.console import Console

from tierline.artifacts import default_cache_dir
from tierline_devcluster import faults
from tierline_devcluster.agent.apiserver.client import ApiError
from tierline_devcluster.cluster import ClusterOptions, RunningCluster, default_state_dir, start
from tierline_devcluster.errors import DevclusterError
from tierline_devcluster.node_groups import DEFAULT_NODES, parse_nodes
from tierline_devcluster.progress import Display
from tierline_devcluster.provision.binaries import obtain_binaries
from tierline_devcluster.provision.tooling import helm_path, kubectl_path
from tierline_devcluster.supervising.inspection import ClusterStatus, inspect
from tierline_devcluster.supervising.state import StateDir
from tierline_devcluster.supervising.supervision import stop_supervisor

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help=__doc__)
_console = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)

Name = Annotated[str, typer.Option(help="The cluster's name; clusters of different names run side by side.")]
NodeName = Annotated[str, typer.Argument(help="A node of the cluster, as `kubectl get nodes` names it.")]


@app.command()
def up(
    name: Name = "dev",
    nodes: Annotated[str, typer.Option(help="Comma-separated capacity-type:zone:count.")] = DEFAULT_NODES,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it runs; `down` ends it.")] = False,
) -> None:
    """Start a cluster. Without --detach it runs until Ctrl-C."""
    with _readable_errors():
        options = ClusterOptions(name=name, nodes=parse_nodes(nodes), detach=detach)
        with Display(_console) as display:
            cluster = start(options, display)
        _describe(cluster)
        if not detach:
            _hold(cluster)


@app.command()
def down(name: Name = "dev") -> None:
    """End a cluster and every process it started."""
    with _readable_errors():
        ended = stop_supervisor(_state(name))
    _console.print(f"cluster {name} ended" if ended else f"cluster {name} was not running")


@app.command()
def status(
    name: Name = "dev",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether a cluster runs, what it consists of and where its logs are; exit code 1 when it does not run."""
    with _readable_errors():
        found = inspect(_state(name))
    if as_json:
        sys.stdout.write(json.dumps(found.as_json(), indent=2) + "\n")
    else:
        _print_status(found)
    if found.phase != "ready":
        raise typer.Exit(1)


@app.command()
def build() -> None:
    """Get everything a cluster needs into the cache: the control plane's programs, kubectl and Helm."""
    with _readable_errors():
        cache = default_cache_dir(os.environ).absolute()
        with Display(_console) as display:
            binaries = obtain_binaries(cache, display)
        _console.print(f"Kubernetes {binaries.version} in {binaries.api_server.parent}")
        _console.print(f"kubectl {kubectl_path(cache)}\nhelm {helm_path(cache)}")


@app.command("spot-notice")
def spot_notice(
    node: NodeName,
    seconds: Annotated[float, typer.Option(help="Time until the node is taken away.")] = 30.0,
    name: Name = "dev",
) -> None:
    """Announce that a node is reclaimed: it gets the taint now and dies at the deadline."""
    with _readable_errors():
        if seconds < 0:
            raise DevclusterError(f"--seconds {seconds:g} is negative; give the time until the node is taken away")
        _do(faults.spot_notice(_running(name).kubeconfig, node, seconds), node)
    _console.print(f"node {node} is taken away in {seconds:g} s")


@app.command("kill-node")
def kill_node(node: NodeName, name: Name = "dev") -> None:
    """Let a node die without notice, with everything that runs on it."""
    with _readable_errors():
        _do(faults.kill_node(_running(name).control_socket, node), node)
    _console.print(f"node {node} is dead")


def _state(name: str) -> StateDir:
    return StateDir(default_state_dir(name, default_cache_dir(os.environ).absolute()))


def _running(name: str) -> StateDir:
    state = _state(name)
    found = inspect(state)
    if found.phase != "ready":
        raise DevclusterError(f"cluster {name!r} does not run ({found.phase}); start it with `tierline-devcluster up`")
    return state


def _do(fault: Coroutine[None, None, object], node: str) -> None:
    try:
        asyncio.run(fault)
    except (ApiError, LookupError, ClientError) as error:
        raise DevclusterError(f"node {node!r}: {error}; `kubectl get nodes` lists the nodes") from error


def _describe(cluster: RunningCluster) -> None:
    info = cluster.info
    _console.print(f"Kubernetes {info.version} at {info.server}, nodes: {', '.join(info.nodes)}")
    _console.print(f"Prometheus at {info.prometheus_url}\nlogs in {info.log_dir}")
    _console.print(f"export KUBECONFIG={info.kubeconfig}")


def _hold(cluster: RunningCluster) -> None:
    _console.print("Ctrl-C ends it")
    try:
        cluster.wait()
    except KeyboardInterrupt:
        _console.print("ending ...")
    finally:
        cluster.stop()


def _print_status(found: ClusterStatus) -> None:
    _console.print(f"cluster {found.name}: {found.phase}{': ' if found.message else ''}{found.message}")
    if found.info is None:
        return
    _console.print(f"Kubernetes {found.info.version} at {found.info.server}, Prometheus at {found.info.prometheus_url}")
    for process in found.processes:
        _console.print(f"  {process.name:<24} {'pid ' + str(process.pid) if process.is_alive() else 'ended'}")
    _console.print(f"logs in {found.info.log_dir}\nexport KUBECONFIG={found.info.kubeconfig}")


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except DevclusterError as error:
        _errors.print(f"[red]error:[/red] {error}", markup=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
