"""Keeping one Node and its lease alive in the API."""

import asyncio
import logging
import time
from dataclasses import dataclass

from tierline_devcluster.agent.apiserver.client import TRANSIENT, Api, ApiError
from tierline_devcluster.agent.node.objects import LEASES, NODES, lease_object, lease_spec, node_object, node_status
from tierline_devcluster.nodes import NodeSpec

_LOG = logging.getLogger(__name__)
_CONFLICT = 409
_NOT_FOUND = 404


@dataclass(slots=True)
class NodeKeeper:
    """Registers a node and renews its lease and status until cancelled; what somebody deletes comes back."""

    api: Api
    node: NodeSpec
    kubelet_port: int
    lease_period_s: float
    status_period_s: float
    _status_due_s: float = 0.0
    _uid: str = ""

    async def run(self) -> None:
        while True:
            try:
                await self._beat()
            except TRANSIENT as error:
                _LOG.info("node %s: no heartbeat: %s", self.node.name, error)
            await asyncio.sleep(self.lease_period_s)

    async def _beat(self) -> None:
        now_s = time.time()
        try:
            if now_s >= self._status_due_s:
                await self._report()
            await self.api.patch(f"{LEASES}/{self.node.name}", lease_spec(self.node.name, now_s))
        except ApiError as error:
            if error.code != _NOT_FOUND:
                raise
            await self._register()

    async def _report(self) -> None:
        body = node_status(self.node, self.kubelet_port, time.time())
        await self.api.patch(f"{NODES}/{self.node.name}/status", body)
        self._status_due_s = time.time() + self.status_period_s

    async def _register(self) -> None:
        body = node_object(self.node, self.kubelet_port, time.time())
        uid = await self._create_node(body)
        if uid != self._uid:
            _LOG.info("node %s registered (%s, %s)", self.node.name, self.node.zone, self.node.capacity_type)
        self._uid = uid
        lease = lease_object(self.node.name, uid, time.time())
        try:
            await self.api.create(LEASES, lease)
        except ApiError as error:
            if error.code != _CONFLICT:
                raise
            await self.api.patch(f"{LEASES}/{self.node.name}", lease)

    async def _create_node(self, body: dict[str, object]) -> str:
        try:
            created = await self.api.create(NODES, body)
        except ApiError as error:
            if error.code != _CONFLICT:
                raise
            created = await self.api.patch(f"{NODES}/{self.node.name}", body)
            await self._report()
        return str(created["metadata"]["uid"])
