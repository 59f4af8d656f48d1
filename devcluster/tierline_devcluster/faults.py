"""Faults on purpose: the notice that takes a spot machine away, the sudden death of a machine, or of the store."""

import math
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from tierline.api.names import TAINT_SPOT_NOTICE
from tierline_devcluster.agent.apiserver.client import MERGE, Api, ApiError
from tierline_devcluster.agent.apiserver.credentials import load_access
from tierline_devcluster.components.control_plane import STORE
from tierline_devcluster.supervising.state import StateDir

_DEAD = 204
_CONFLICT = 409


async def spot_notice(kubeconfig: Path, node: str, seconds: float) -> int:
    """Announce that the machine of `node` is taken away in `seconds`; return that deadline in whole epoch seconds.

    Raises `ApiError` (404) when there is no such node.
    """
    deadline = math.ceil(time.time() + seconds)
    taint = {"key": TAINT_SPOT_NOTICE, "value": str(deadline), "effect": "NoSchedule"}
    async with Api(load_access(kubeconfig)) as api:
        while not await _tainted(api, f"/api/v1/nodes/{node}", taint):
            continue
    return deadline


async def _tainted(api: Api, path: str, taint: Mapping[str, str]) -> bool:
    """Put a taint beside those of others; False when somebody else changed the node meanwhile.

    Taints are one list that a patch replaces as a whole, whatever kind of patch it is.
    """
    live = await api.get(path)
    others = [it for it in live["spec"].get("taints", ()) if it["key"] != taint["key"]]
    version = {"resourceVersion": live["metadata"]["resourceVersion"]}
    try:
        await api.patch(path, {"metadata": version, "spec": {"taints": [*others, taint]}}, MERGE)
    except ApiError as error:
        if error.code != _CONFLICT:
            raise
        return False
    return True


def kill_store(state: StateDir) -> None:
    """Let the control plane's etcd die at once; its supervisor starts it again on the same data.

    Raises `LookupError` when none runs.
    """
    alive = [record for record in state.processes() if record.name == STORE and record.is_alive()]
    if not alive:
        raise LookupError(f"no {STORE} of the cluster in {state.root} is running")
    for record in alive:
        record.send(signal.SIGKILL)


async def kill_node(control_socket: Path, node: str) -> None:
    """Let the machine of `node` die at once: its processes end and it gives no more sign of life.

    Raises `LookupError` when the agent has no such live node, `aiohttp.ClientError` when no agent answers.
    """
    connector = aiohttp.UnixConnector(path=str(control_socket))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(f"http://agent/nodes/{node}/kill") as answer,
    ):
        if answer.status != _DEAD:
            raise LookupError(await answer.text())
