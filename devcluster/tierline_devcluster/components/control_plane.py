"""The control plane's processes as data: etcd, then the API server, then the controllers and the scheduler."""

import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tierline_devcluster.components.audit import AUDIT_LOG, audit_flags
from tierline_devcluster.components.certificates import CertificateFiles, KeyPair
from tierline_devcluster.components.component import Component, ReadyCheck
from tierline_devcluster.components.flags import (
    ControlPlanePorts,
    api_server_flags,
    controller_manager_flags,
    etcd_flags,
    scheduler_flags,
)
from tierline_devcluster.components.kubeconfig import write_kubeconfig
from tierline_devcluster.components.prometheus import prometheus_flags, write_config
from tierline_devcluster.provision.binaries import Binaries
from tierline_devcluster.supervising.state import StateDir

STORE = "etcd"
_STORE_RESTARTS = 3
"""The store may die: drills and tests kill it, and it goes on from its data. More often is a crash loop."""
_ETCD, _API, _CONTROLLERS, _AGENT = range(4)
_FIRST_POD_NEEDS = (
    "/api/v1/namespaces/default/serviceaccounts/default",
    "/api/v1/namespaces/default/configmaps/kube-root-ca.crt",
)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that the components' command lines are made of. Nodes give a sign of life every `heartbeat_seconds`."""

    state: StateDir
    binaries: Binaries
    certificates: CertificateFiles
    ports: ControlPlanePorts
    heartbeat_seconds: float = 1.0

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.ports.api_server}"


def control_plane_components(blueprint: Blueprint) -> list[Component]:
    """Return etcd, API server, controller manager and scheduler; writes the two controllers' kubeconfigs."""
    return [
        _etcd(blueprint),
        _api_server(blueprint),
        _controller_manager(blueprint),
        _scheduler(blueprint),
    ]


def prometheus_component(blueprint: Blueprint, program: Path, port: int, discovery_port: int | None) -> Component:
    """Return Prometheus and write its configuration; it scrapes what the agent's discovery lists."""
    config = blueprint.state.root / "prometheus.yml"
    write_config(config, discovery_port)
    flags = prometheus_flags(config, blueprint.state.root / "prometheus", port)
    return _component("prometheus", program, flags, (ReadyCheck(port, "/-/ready"),), _CONTROLLERS)


def agent_component(config: Path, discovery_port: int, env: dict[str, str]) -> Component:
    """Return the node agent; it gets time to end its pods in order."""
    return Component(
        name="agent",
        argv=(sys.executable, "-m", "tierline_devcluster.agent", str(config)),
        ready=(ReadyCheck(discovery_port, "/sd"),),
        stage=_AGENT,
        stop_s=8.0,
        env=env,
    )


def api_check(blueprint: Blueprint, path: str) -> ReadyCheck:
    """Return a check of an API path as administrator."""
    return _check(blueprint, blueprint.ports.api_server, path, blueprint.certificates.admin)


def _etcd(blueprint: Blueprint) -> Component:
    ports, certificates = blueprint.ports, blueprint.certificates
    flags = etcd_flags(ports, certificates, blueprint.state.root / "etcd")
    ready = _check(blueprint, ports.etcd_client, "/health", certificates.api_to_etcd)
    etcd = _component(STORE, blueprint.binaries.etcd, flags, (ready,), _ETCD)
    return msgspec.structs.replace(etcd, restarts=_STORE_RESTARTS)


def _api_server(blueprint: Blueprint) -> Component:
    state = blueprint.state
    flags = api_server_flags(blueprint.ports, blueprint.certificates, state.root / "apiserver")
    flags += audit_flags(state.root / "audit-policy.yaml", state.logs / AUDIT_LOG)
    ready = api_check(blueprint, "/readyz")
    return _component("kube-apiserver", blueprint.binaries.api_server, flags, (ready,), _API)


def _controller_manager(blueprint: Blueprint) -> Component:
    kubeconfig = _component_kubeconfig(blueprint, "controller-manager", blueprint.certificates.controller_manager)
    flags = controller_manager_flags(
        blueprint.binaries.version, blueprint.ports, blueprint.certificates, kubeconfig, blueprint.heartbeat_seconds
    )
    ready = tuple(api_check(blueprint, path) for path in _FIRST_POD_NEEDS)
    program = blueprint.binaries.controller_manager
    return _component("kube-controller-manager", program, flags, ready, _CONTROLLERS)


def _scheduler(blueprint: Blueprint) -> Component:
    kubeconfig = _component_kubeconfig(blueprint, "scheduler", blueprint.certificates.scheduler)
    flags = scheduler_flags(blueprint.binaries.version, blueprint.ports, blueprint.certificates, kubeconfig)
    ready = _check(blueprint, blueprint.ports.scheduler, "/healthz", None)
    return _component("kube-scheduler", blueprint.binaries.scheduler, flags, (ready,), _CONTROLLERS)


def _component(name: str, program: Path, flags: list[str], ready: tuple[ReadyCheck, ...], stage: int) -> Component:
    # Nothing of a development cluster's store is kept, so its programs are killed rather than asked.
    return Component(name=name, argv=(str(program), *flags), ready=ready, stage=stage, stop_s=0.0)


def _component_kubeconfig(blueprint: Blueprint, name: str, client: KeyPair) -> Path:
    path = blueprint.state.root / f"{name}.kubeconfig"
    write_kubeconfig(path, blueprint.server, blueprint.certificates.ca.cert, client, context=name)
    return path


def _check(blueprint: Blueprint, port: int, path: str, client: KeyPair | None) -> ReadyCheck:
    return ReadyCheck(
        port=port,
        path=path,
        ca=str(blueprint.certificates.ca.cert),
        client_cert=None if client is None else str(client.cert),
        client_key=None if client is None else str(client.key),
    )
