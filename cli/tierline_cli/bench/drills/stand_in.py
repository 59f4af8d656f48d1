"""A stand-in for the gateway of a pretended pod: it counts a flood's requests beside a steady tenant's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import generate_latest

from tierline.api.names import GATEWAY_ADMIN_PORT, GATEWAY_HTTP_PORT
from tierline_gateway.instruments import Instruments

FLOOD_TENANT, STEADY_TENANT = "drill", "steady"
STEADY_TTFT_SECONDS = 0.02


class StandIn:
    """Every look at its metrics finds another request of the steady tenant."""

    def __init__(self, tier: str) -> None:
        self._tier = tier
        self._instruments = Instruments()

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/v1/completions", self._complete)
        return app

    async def _metrics(self, _: web.Request) -> web.Response:
        self._instruments.requests.labels(self._tier, STEADY_TENANT, "stop").inc()
        self._instruments.ttft.labels(self._tier, STEADY_TENANT).observe(STEADY_TTFT_SECONDS)
        return web.Response(body=generate_latest(self._instruments.registry))

    async def _complete(self, request: web.Request) -> web.Response:
        await request.read()
        self._instruments.requests.labels(self._tier, FLOOD_TENANT, "stop").inc()
        return web.json_response({})


@asynccontextmanager
async def standing_in(host: str, tier: str) -> AsyncIterator[None]:
    """Serve where the pod with this address would."""
    runner = web.AppRunner(StandIn(tier).application(), access_log=None)
    await runner.setup()
    try:
        for port in (GATEWAY_ADMIN_PORT, GATEWAY_HTTP_PORT):
            await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
