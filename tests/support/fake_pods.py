"""What a fleet's pods tell and answer, for virtual nodes: one address stands for all of a test's gateways."""

from typing import Any

from aiohttp import web
from prometheus_client import generate_latest

from tierline.api.names import GATEWAY_ADMIN_PORT, GATEWAY_HTTP_PORT
from tierline_gateway.instruments import Instruments


class FakeGateways:
    """Serves real instruments where gateways serve them; every completion counts for `tenant` and is answered."""

    def __init__(self, host: str, tier: str, tenant: str = "") -> None:
        self.host = host
        self.instruments = Instruments()
        self._tier = tier
        self._tenant = tenant
        self._runner: web.AppRunner | None = None
        self.completions = 0

    async def start(self) -> "FakeGateways":
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/v1/completions", self._complete)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        for port in (GATEWAY_ADMIN_PORT, GATEWAY_HTTP_PORT):
            await web.TCPSite(self._runner, self.host, port).start()
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self.instruments.registry))

    async def _complete(self, _: web.Request) -> web.Response:
        self.completions += 1
        self.instruments.requests.labels(self._tier, self._tenant, "stop").inc()
        return web.json_response({})


def quota(name: str, tenant: str, tier: str, **labels: str) -> dict[str, Any]:
    """Return a TenantQuota whose key is in the Secret of the same name."""
    keys = [{"name": name, "key": "api-key"}]
    spec = {"tenant": tenant, "tierRefs": [tier], "apiKeySecretRefs": keys}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "tierline.dev/v1alpha1", "kind": "TenantQuota", "metadata": metadata, "spec": spec}
