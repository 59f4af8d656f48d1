"""The state directory of one cluster: which files it holds, and what the supervisor writes there for others to read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from tierline_devcluster.supervising.processes import ProcessRecord

Phase = Literal["starting", "ready", "failed", "stopped"]
SUPERVISOR = "supervisor"


class ClusterInfo(msgspec.Struct, frozen=True):
    """What a user of a cluster needs to know; stored as `cluster.json`."""

    name: str
    version: str
    server: str
    kubeconfig: str
    prometheus_url: str | None
    log_dir: str
    nodes: tuple[str, ...]


class SupervisorReport(msgspec.Struct, frozen=True):
    """What the supervisor last said about the cluster; stored as `status.json`."""

    phase: Phase
    message: str = ""


@dataclass(frozen=True, slots=True)
class StateDir:
    """Names of the files in a cluster's state directory."""

    root: Path

    @property
    def certificates(self) -> Path:
        return self.root / "certificates"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def pods(self) -> Path:
        return self.root / "pods"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def agent_config(self) -> Path:
        return self.root / "agent.json"

    @property
    def control_socket(self) -> Path:
        return self.root / "agent.sock"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def lock(self) -> Path:
        """The file beside the directory that keeps two `up` of one name apart."""
        return self.root.parent / f".{self.root.name}.lock"

    def save_info(self, info: ClusterInfo) -> None:
        _write(self.root / "cluster.json", msgspec.json.encode(info))

    def info(self) -> ClusterInfo | None:
        """Return what is known of the cluster, None when there is none."""
        content = _read(self.root / "cluster.json")
        return None if content is None else msgspec.json.decode(content, type=ClusterInfo)

    def save_report(self, report: SupervisorReport) -> None:
        _write(self.root / "status.json", msgspec.json.encode(report))

    def report(self) -> SupervisorReport | None:
        content = _read(self.root / "status.json")
        return None if content is None else msgspec.json.decode(content, type=SupervisorReport)

    def save_processes(self, records: list[ProcessRecord]) -> None:
        _write(self.root / "processes.json", msgspec.json.encode(records))

    def processes(self) -> list[ProcessRecord]:
        """Return all processes ever recorded for this run, the supervisor first."""
        content = _read(self.root / "processes.json")
        return [] if content is None else msgspec.json.decode(content, type=list[ProcessRecord])

    def living_supervisor(self) -> ProcessRecord | None:
        """Return the supervisor if it runs."""
        for record in self.processes():
            if record.name == SUPERVISOR and record.is_alive():
                return record
        return None


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + ".draft")
    draft.write_bytes(content + b"\n")
    draft.replace(path)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
