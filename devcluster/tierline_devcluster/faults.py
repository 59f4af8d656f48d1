"""Faults on purpose: a spot notice is a taint on the node, a sudden death is asked of the node's agent.

The agent's control socket takes one JSON line, a `Fault`, and answers with one JSON line, a `FaultReply`.
"""

import socket
import time
from pathlib import Path

import msgspec
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tierline.api.names import TAINT_SPOT_NOTICE
from tierline_devcluster.errors import DevclusterError

_TIMEOUT_S = 15.0


class Fault(msgspec.Struct, frozen=True, tag_field="fault", forbid_unknown_fields=True):
    """Something that is to happen to `node`."""

    node: str


class KillNode(Fault, frozen=True, tag="kill-node"):
    """The node dies now: its processes get SIGKILL and it reports nothing any more."""


class FaultReply(msgspec.Struct, frozen=True):
    """Whether the fault was done; `error` names the fix when it was not."""

    error: str = ""


class FaultFailed(DevclusterError):
    """A fault could not be done; the message says why."""


def spot_notice(kubeconfig: Path, node: str, seconds: float) -> int:
    """Announce that `node` is taken away in `seconds`; return the deadline in epoch seconds. Raises `FaultFailed`."""
    if seconds < 0:
        raise FaultFailed(f"--seconds {seconds} is negative; give the time until the node is taken away")
    deadline = int(time.time() + seconds)
    taint = {"key": TAINT_SPOT_NOTICE, "value": str(deadline), "effect": "NoSchedule"}
    api = client.CoreV1Api(config.new_client_from_config(config_file=str(kubeconfig)))
    try:
        api.patch_node(node, {"spec": {"taints": [taint]}})
    except ApiException as error:
        raise FaultFailed(f"node {node!r}: {error.reason}; `kubectl get nodes` lists the nodes") from error
    return deadline


def kill_node(control_socket: Path, node: str) -> None:
    """Let `node` die without notice. Raises `FaultFailed`."""
    reply = _ask(control_socket, KillNode(node))
    if reply.error:
        raise FaultFailed(f"node {node!r}: {reply.error}")


def _ask(control_socket: Path, fault: Fault) -> FaultReply:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(str(control_socket))
            connection.sendall(msgspec.json.encode(fault) + b"\n")
            return msgspec.json.decode(connection.makefile("rb").readline(), type=FaultReply)
    except (OSError, msgspec.MsgspecError) as error:
        raise FaultFailed(
            f"the node agent did not answer at {control_socket}: {error}; does the cluster run?"
        ) from error
