"""Machines that die: at once by a fault, or at the deadline of a spot notice."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tierline_devcluster.agent.apiserver.client import TRANSIENT, Api
from tierline_devcluster.agent.apiserver.deletion import delete_if_there, delete_pod
from tierline_devcluster.agent.node.objects import LEASES, NODES, reclaim_deadline_s
from tierline_devcluster.agent.pod.spec import Json
from tierline_devcluster.agent.pods import PodKeeper

_LOG = logging.getLogger(__name__)
_RETRY_S = 0.5


@dataclass(slots=True)
class Machines:
    """Takes nodes away. `stop_heartbeat` ends a node's signs of life."""

    api: Api
    pods: PodKeeper
    stop_heartbeat: Callable[[str], None]
    _notices: dict[str, tuple[float, asyncio.Task[None]]] = field(default_factory=dict)

    async def kill(self, node: str) -> bool:
        """Let a machine die: its processes end, its lease runs out, nobody is told. False when it is not alive."""
        if node not in self.pods.live_nodes:
            return False
        _LOG.warning("node %s: killed", node)
        self.pods.live_nodes.discard(node)
        self.stop_heartbeat(node)
        await self.pods.silence(self.pods.of_node(node))
        return True

    def node_seen(self, obj: Json) -> None:
        """Note or forget a spot notice on a node of ours."""
        name = obj["metadata"]["name"]
        deadline_s = reclaim_deadline_s(obj)
        known = self._notices.get(name)
        if name not in self.pods.live_nodes or (known is not None and known[0] == deadline_s):
            return
        if known is not None:
            known[1].cancel()
            del self._notices[name]
        if deadline_s is not None:
            _LOG.warning("node %s: spot notice, reclaimed in %.1f s", name, deadline_s - time.time())
            self._notices[name] = (deadline_s, asyncio.create_task(self._reclaim_at(name, deadline_s)))

    async def _reclaim_at(self, node: str, deadline_s: float) -> None:
        await asyncio.sleep(max(0.0, deadline_s - time.time()))
        if not await self.kill(node):
            return
        _LOG.warning("node %s: reclaimed", node)
        while True:
            try:
                await self._forget(node)
                return
            except TRANSIENT as error:
                _LOG.info("node %s: not removed yet: %s", node, error)
                await asyncio.sleep(_RETRY_S)

    async def _forget(self, node: str) -> None:
        """Do what a cloud's node controller does for a machine that no longer exists."""
        await delete_if_there(self.api, f"{NODES}/{node}")
        await delete_if_there(self.api, f"{LEASES}/{node}")
        left = await self.api.get("/api/v1/pods", {"fieldSelector": f"spec.nodeName={node}"})
        for pod in left["items"]:
            meta = pod["metadata"]
            await delete_pod(self.api, meta["namespace"], meta["name"], meta["uid"])
