"""Reaching a fleet's gateway from where the tests run."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from e2e_cluster import Json, is_ready
from e2e_namespace import Namespace
from openai import AsyncOpenAI

from tierline.api.names import GATEWAY_ADMIN_PORT, GATEWAY_HTTP_PORT

_FORWARDED = re.compile(r"Forwarding from (127\.0\.0\.1:\d+)")
_FORWARD_SECONDS = 10
_CLIENT_SECONDS = 60


@dataclass(frozen=True)
class Gateway:
    """One gateway pod: `host:port` of its two doors, as seen from here."""

    pod: str
    node: str
    api: str
    admin: str

    @property
    def url(self) -> str:
        return f"http://{self.api}/v1"

    def client(self, key: str) -> AsyncOpenAI:
        """Return the OpenAI SDK as it is, without retries: what fails is to be seen."""
        return AsyncOpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=_CLIENT_SECONDS)

    async def requests(self) -> list[Json]:
        """Return the requests that are not done, as the gateway sees them."""
        return list(await self._get("debug/requests"))

    async def request(self, request_id: str) -> Json:
        return dict(await self._get(f"debug/requests/{request_id}"))

    async def _get(self, path: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.admin}/{path}") as answer:
            assert answer.status == 200, f"GET {path}: {answer.status} {await answer.text()}"
            return await answer.json()


@asynccontextmanager
async def reach(namespace: Namespace, fleet: str) -> AsyncIterator[Gateway]:
    """Yield a ready gateway of the fleet: by its pod's address on virtual nodes, elsewhere by port-forward."""
    ready = [pod for pod in await namespace.gateways(fleet) if is_ready(pod)]
    assert ready, f"no gateway of {fleet} is ready"
    pod = ready[0]
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    if namespace.cluster.virtual is not None:
        address = pod["status"]["podIP"]
        yield Gateway(name, node, f"{address}:{GATEWAY_HTTP_PORT}", f"{address}:{GATEWAY_ADMIN_PORT}")
        return
    async with AsyncExitStack() as stack:
        forwards = [_forwarded(namespace, name, port) for port in (GATEWAY_HTTP_PORT, GATEWAY_ADMIN_PORT)]
        doors = [await stack.enter_async_context(forward) for forward in forwards]
        yield Gateway(name, node, *doors)


@asynccontextmanager
async def _forwarded(namespace: Namespace, pod: str, port: int) -> AsyncIterator[str]:
    cluster = namespace.cluster
    words = ["--kubeconfig", str(cluster.kubeconfig), "-n", namespace.name, "port-forward", f"pod/{pod}", f":{port}"]
    process = await asyncio.create_subprocess_exec(
        str(cluster.kubectl_path), *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), _FORWARD_SECONDS)).decode()
        found = _FORWARDED.search(line)
        assert found, f"port-forward to {pod}:{port} failed: {(await process.stderr.read()).decode()}"
        yield found[1]
    finally:
        process.terminate()
        await process.wait()
