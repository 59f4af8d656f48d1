"""Faults on purpose: the notice that takes a spot machine away, and the sudden death of a machine."""

import math
import time
from pathlib import Path

import aiohttp

from tierline.api.names import TAINT_SPOT_NOTICE
from tierline_devcluster.agent.apiserver.client import Api
from tierline_devcluster.agent.apiserver.credentials import load_access

_DEAD = 204


async def spot_notice(kubeconfig: Path, node: str, seconds: float) -> int:
    """Announce that the machine of `node` is taken away in `seconds`; return that deadline in whole epoch seconds.

    Raises `ApiError` (404) when there is no such node.
    """
    deadline = math.ceil(time.time() + seconds)
    taint = {"key": TAINT_SPOT_NOTICE, "value": str(deadline), "effect": "NoSchedule"}
    async with Api(load_access(kubeconfig)) as api:
        # A strategic merge: taints are merged by key, so other controllers' taints stay.
        await api.patch(f"/api/v1/nodes/{node}", {"spec": {"taints": [taint]}})
    return deadline


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
