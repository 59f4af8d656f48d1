"""Start and stop a whole development cluster from Python."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tierline.artifacts import default_cache_dir
from tierline.artifacts.locking import file_lock
from tierline.artifacts.resolve import ENV_CACHE_DIR
from tierline_devcluster.components.certificates import KUBELET_CLIENT_NAME, create_certificates
from tierline_devcluster.components.component import Component, Plan
from tierline_devcluster.components.control_plane import (
    Blueprint,
    agent_component,
    api_check,
    control_plane_components,
    prometheus_component,
)
from tierline_devcluster.components.flags import ControlPlanePorts
from tierline_devcluster.components.kubeconfig import write_kubeconfig
from tierline_devcluster.components.ports import free_ports
from tierline_devcluster.components.readiness import fetch
from tierline_devcluster.errors import DevclusterError
from tierline_devcluster.nodes import AgentConfig, NodeSpec
from tierline_devcluster.progress import Reporter, Silent, step
from tierline_devcluster.provision.binaries import Binaries, obtain_binaries
from tierline_devcluster.provision.versions import KubernetesVersion, parse_version
from tierline_devcluster.supervising.state import ClusterInfo, StateDir
from tierline_devcluster.supervising.supervision import ClusterFailed, start_supervisor, stop_supervisor

NODES_READY_TIMEOUT_S = 30.0
_SOCKET_PATH_LIMIT = 100


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What cluster to start.

    `state_dir` is emptied by the start; None means `<cache>/devcluster/<name>`. Without `nodes` there is no agent.
    `detach` lets the cluster outlive the calling process. `runs_processes=False` makes nodes that only pretend.
    Nodes give a sign of life every `heartbeat_seconds`, and are lost when five are missing; their status is written
    every `node_status_seconds`. Pods that only pretend may get addresses of another /16 than loopback's: `pod_network`.
    """

    name: str = "dev"
    state_dir: Path | None = None
    nodes: tuple[NodeSpec, ...] = ()
    prometheus: bool = True
    detach: bool = False
    runs_processes: bool = True
    heartbeat_seconds: float = 1.0
    node_status_seconds: float = 10.0
    pod_network: str = ""
    cache_dir: Path = field(default_factory=lambda: default_cache_dir(os.environ).absolute())

    @property
    def state(self) -> StateDir:
        return StateDir(self.state_dir or default_state_dir(self.name, self.cache_dir))


def default_state_dir(name: str, cache_dir: Path) -> Path:
    """Return the state directory of the cluster called `name`; raises `DevclusterError` on a name that is no label."""
    if not (name.isascii() and name.replace("-", "").isalnum() and name == name.lower() and len(name) <= 40):
        raise DevclusterError(f"--name {name!r} must be 1 to 40 small letters, digits and dashes, like dev")
    return cache_dir / "devcluster" / name


class RunningCluster:
    """A cluster that answers; a context manager that stops it."""

    def __init__(self, state: StateDir, info: ClusterInfo, supervisor: "subprocess.Popen[bytes]") -> None:
        self._state = state
        self._supervisor = supervisor
        self.info = info

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig."""
        return Path(self.info.kubeconfig)

    @property
    def state_dir(self) -> Path:
        return self._state.root

    @property
    def log_dir(self) -> Path:
        return Path(self.info.log_dir)

    @property
    def control_socket(self) -> Path:
        """The agent's Unix socket for faults."""
        return self._state.control_socket

    @property
    def server(self) -> str:
        return self.info.server

    @property
    def prometheus_url(self) -> str | None:
        return self.info.prometheus_url

    @property
    def api_version(self) -> KubernetesVersion:
        return parse_version(self.info.version)

    def wait(self) -> None:
        """Return when the cluster has ended; raises `ClusterFailed` when it ended because something broke."""
        self._supervisor.wait()
        report = self._state.report()
        if report is not None and report.phase == "failed":
            raise ClusterFailed(report.message)

    def stop(self) -> None:
        """End all processes of the cluster; the state directory stays for reading logs."""
        stop_supervisor(self._state)
        self._supervisor.wait()

    def __enter__(self) -> "RunningCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(options: ClusterOptions, progress: Reporter | None = None) -> RunningCluster:
    """Start a cluster and return once its API answers and its nodes are ready.

    Raises `DevclusterError` when one of that name runs, a program cannot be had, or a component does not start.
    """
    reporter = progress or Silent()
    state = options.state
    _check_socket_path(state)
    binaries = obtain_binaries(options.cache_dir, reporter)
    with file_lock(state.lock):
        _take_over(state)
        with step(reporter, "make certificates"):
            blueprint = _draw(state, binaries, options.heartbeat_seconds)
        info = _prepare(options, blueprint)
        supervisor = start_supervisor(state, options.detach, reporter)
    cluster = RunningCluster(state, info, supervisor)
    try:
        if options.nodes:
            with step(reporter, f"wait for {len(options.nodes)} nodes"):
                _await_nodes(blueprint, {node.name for node in options.nodes})
    except BaseException:
        cluster.stop()
        raise
    return cluster


def _check_socket_path(state: StateDir) -> None:
    path = str(state.control_socket)
    if len(path) > _SOCKET_PATH_LIMIT:
        raise DevclusterError(
            f"state directory {state.root} is too long for a Unix socket; set {ENV_CACHE_DIR} to a shorter path"
        )


def _take_over(state: StateDir) -> None:
    if state.living_supervisor() is not None:
        raise DevclusterError(
            f"cluster {state.root.name!r} already runs; end it with "
            f"`tierline-devcluster down --name {state.root.name}` or give another --name"
        )
    stop_supervisor(state)
    shutil.rmtree(state.root, ignore_errors=True)
    for folder in (state.root, state.logs, state.pods):
        folder.mkdir(mode=0o700, parents=True)


def _draw(state: StateDir, binaries: Binaries, heartbeat_seconds: float) -> Blueprint:
    certificates = create_certificates(state.certificates)
    return Blueprint(state, binaries, certificates, ControlPlanePorts(*free_ports(5)), heartbeat_seconds)


def _prepare(options: ClusterOptions, blueprint: Blueprint) -> ClusterInfo:
    state = blueprint.state
    write_kubeconfig(
        state.kubeconfig,
        blueprint.server,
        blueprint.certificates.ca.cert,
        blueprint.certificates.admin,
        context=f"tierline-{options.name}",
    )
    components = control_plane_components(blueprint)
    prometheus_port, discovery_port, kubelet_port = free_ports(3)
    if options.prometheus:
        components.append(_prometheus(options, blueprint, prometheus_port, discovery_port))
    if options.nodes:
        components.append(_agent(options, blueprint, discovery_port, kubelet_port))
    Plan(tuple(components), log_dir=str(state.logs), pod_root=str(state.pods)).save(state.plan)
    info = ClusterInfo(
        name=options.name,
        version=str(blueprint.binaries.version),
        server=blueprint.server,
        kubeconfig=str(state.kubeconfig),
        prometheus_url=f"http://127.0.0.1:{prometheus_port}" if options.prometheus else None,
        log_dir=str(state.logs),
        nodes=tuple(node.name for node in options.nodes),
    )
    state.save_info(info)
    return info


def _prometheus(options: ClusterOptions, blueprint: Blueprint, port: int, discovery_port: int) -> Component:
    program = blueprint.binaries.prometheus
    if program is None:
        raise DevclusterError("no prometheus found; install Debian's package prometheus or start without it")
    return prometheus_component(blueprint, program, port, discovery_port if options.nodes else None)


def _agent(options: ClusterOptions, blueprint: Blueprint, discovery_port: int, kubelet_port: int) -> Component:
    state, certificates = blueprint.state, blueprint.certificates
    AgentConfig(
        kubeconfig=str(state.kubeconfig),
        pod_root=str(state.pods),
        control_socket=str(state.control_socket),
        serving_cert=str(certificates.serving.cert),
        serving_key=str(certificates.serving.key),
        client_ca=str(certificates.ca.cert),
        client_common_name=KUBELET_CLIENT_NAME,
        kubelet_port=kubelet_port,
        discovery_port=discovery_port,
        nodes=options.nodes,
        cache_dir=str(options.cache_dir),
        runs_processes=options.runs_processes,
        lease_seconds=options.heartbeat_seconds,
        status_seconds=options.node_status_seconds,
        pod_network=options.pod_network,
    ).save(state.agent_config)
    return agent_component(state.agent_config, discovery_port, _agent_environment(options))


def _agent_environment(options: ClusterOptions) -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{programs}{os.pathsep}{path}", ENV_CACHE_DIR: str(options.cache_dir)}


def _await_nodes(blueprint: Blueprint, names: set[str]) -> None:
    deadline = time.monotonic() + NODES_READY_TIMEOUT_S
    while missing := names - _ready_nodes(blueprint):
        if time.monotonic() > deadline:
            raise ClusterFailed(f"nodes not ready: {', '.join(sorted(missing))}; log: {blueprint.state.logs}/agent.log")
        time.sleep(0.05)


def _ready_nodes(blueprint: Blueprint) -> set[str]:
    _, body = fetch(api_check(blueprint, "/api/v1/nodes"))
    items = msgspec.json.decode(body).get("items", [])
    return {item["metadata"]["name"] for item in items if _is_ready(item)}


def _is_ready(node: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
