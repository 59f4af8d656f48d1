"""A gateway's instruments, served where a gateway serves them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import generate_latest

from tierline.api.names import GATEWAY_ADMIN_PORT
from tierline_gateway.instruments import Instruments


@asynccontextmanager
async def served_instruments(host: str) -> AsyncIterator[Instruments]:
    instruments = Instruments()

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(instruments.registry))

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, host, GATEWAY_ADMIN_PORT).start()
    yield instruments
    await runner.cleanup()
