"""What the demo reads of the cluster: the fleet's conditions, its pods, the nodes under them."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from tierline.api.names import (
    API_VERSION,
    GATEWAY_ADMIN_PORT,
    GATEWAY_HTTP_PORT,
    LABEL_CAPACITY_TYPE,
    LABEL_COMPONENT,
    LABEL_FLEET,
    label_value,
)
from tierline_cli.errors import CommandFailed
from tierline_devcluster.agent.apiserver.client import Api, ApiError

POLL_SECONDS = 0.25
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod that matters to the demo: where it runs and under which address."""

    name: str
    node: str
    address: str
    ready: bool


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """A gateway pod's two doors, by pod address: without kube-proxy a Service leads nowhere."""

    pod: PodView

    @property
    def api_url(self) -> str:
        return f"http://{self.pod.address}:{GATEWAY_HTTP_PORT}/v1"

    @property
    def admin_url(self) -> str:
        return f"http://{self.pod.address}:{GATEWAY_ADMIN_PORT}"


class ClusterView:
    """Reads one fleet's objects through the API server."""

    def __init__(self, api: Api, namespace: str, fleet: str) -> None:
        self._api = api
        self._namespace = namespace
        self._fleet = fleet

    async def await_ready(self, timeout_s: float) -> None:
        """Return once the fleet's condition Ready is true; raises `CommandFailed` that quotes its conditions."""
        path = f"/apis/{API_VERSION}/namespaces/{self._namespace}/llmfleets/{self._fleet}"
        deadline = time.monotonic() + timeout_s
        while True:
            conditions = (await self._api.get(path)).get("status", {}).get("conditions", [])
            if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
                return
            if time.monotonic() > deadline:
                told = "; ".join(f"{each['type']}={each['status']}: {each.get('message', '')}" for each in conditions)
                raise CommandFailed(f"the fleet was not Ready in {timeout_s:.0f} s: {told or 'it has no conditions'}")
            await asyncio.sleep(POLL_SECONDS)

    async def workers(self) -> list[PodView]:
        return await self._pods("worker")

    async def gateway(self) -> GatewayAddress:
        """Return a ready gateway; raises `CommandFailed` when there is none."""
        ready = [pod for pod in await self._pods("gateway") if pod.ready]
        if not ready:
            raise CommandFailed("no gateway pod of the fleet is ready")
        return GatewayAddress(ready[0])

    async def spot_nodes(self) -> frozenset[str]:
        """Return the names of the spot nodes that exist."""
        query = {"labelSelector": f"{LABEL_CAPACITY_TYPE}=spot"}
        nodes = await self._api.get("/api/v1/nodes", query)
        return frozenset(node["metadata"]["name"] for node in nodes["items"])

    async def await_node_gone(self, node: str, timeout_s: float) -> None:
        """Return once the node object is gone; raises `CommandFailed`."""
        deadline = time.monotonic() + timeout_s
        while await self._node_exists(node):
            if time.monotonic() > deadline:
                raise CommandFailed(f"node {node} still exists {timeout_s:.0f} s after its deadline")
            await asyncio.sleep(POLL_SECONDS / 5)

    async def _node_exists(self, node: str) -> bool:
        try:
            await self._api.get(f"/api/v1/nodes/{node}")
        except ApiError as error:
            if error.code != _NOT_FOUND:
                raise
            return False
        return True

    async def _pods(self, component: str) -> list[PodView]:
        selector = f"{LABEL_FLEET}={label_value(self._fleet)},{LABEL_COMPONENT}={component}"
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        answer = await self._api.get(path, {"labelSelector": selector})
        return [_view(pod) for pod in answer["items"] if "deletionTimestamp" not in pod["metadata"]]


def _view(pod: dict[str, Any]) -> PodView:
    status = pod.get("status", {})
    conditions = status.get("conditions", [])
    return PodView(
        name=pod["metadata"]["name"],
        node=pod["spec"].get("nodeName", ""),
        address=status.get("podIP", ""),
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
    )
