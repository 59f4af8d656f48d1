"""Virtual nodes as data: what a node offers, and the file that tells the agent which nodes to be."""

from pathlib import Path
from typing import Literal

import msgspec

CapacityType = Literal["spot", "on-demand"]


class NodeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One virtual node: its place, its price class and what it can hold."""

    name: str
    zone: str
    capacity_type: CapacityType = "on-demand"
    cpus: int = 8
    memory_mb: int = 16384
    gpus: int = 1
    accelerator: str = "cpu"


class AgentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The agent's whole configuration, stored as `agent.json` in the cluster's state directory.

    `kubeconfig` is an administrator's; `serving_cert`, `serving_key` and `client_ca` are for the kubelet API that
    `kubectl logs` and `exec` reach on `kubelet_port`; `control_socket` is a Unix socket that takes faults;
    `lease_seconds` is the time between two signs of life. A crashed container is restarted after
    `restart_backoff_seconds`, doubling up to the limit. `runs_processes=False` makes nodes that report pods as
    running without starting anything. A node's status is told every `status_seconds`. Pods get addresses of the /16
    `pod_network`, loopback ones where it is empty.
    """

    kubeconfig: str
    pod_root: str
    control_socket: str
    serving_cert: str
    serving_key: str
    client_ca: str
    client_common_name: str
    kubelet_port: int
    discovery_port: int
    nodes: tuple[NodeSpec, ...]
    cache_dir: str
    lease_seconds: float = 1.0
    status_seconds: float = 10.0
    pod_network: str = ""
    restart_backoff_seconds: float = 1.0
    restart_backoff_limit_seconds: float = 30.0
    runs_processes: bool = True

    def save(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)))

    @classmethod
    def load(cls, path: Path) -> "AgentConfig":
        """Read the file; raises `msgspec.ValidationError` that names the wrong field."""
        return msgspec.json.decode(path.read_bytes(), type=cls)
