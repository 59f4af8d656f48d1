"""The worker's HTTP side: probes, metrics and adapters."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from tierline_worker.adapters.endpoints import MAX_BODY_BYTES, add_adapter_routes
from tierline_worker.adapters.loading import AdapterLoader

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Probe:
    """An answer to the kubelet: fine, or why not."""

    problem: str = ""

    @property
    def response(self) -> web.Response:
        return web.Response(text=self.problem or "ok", status=503 if self.problem else 200)


@dataclass(frozen=True, slots=True)
class Probes:
    """Where the answers come from, asked on each request."""

    startup: Callable[[], Probe]
    ready: Callable[[], Probe]
    live: Callable[[], Probe]
    metrics: Callable[[], bytes]


async def serve_http(
    probes: Probes, adapters: Callable[[], AdapterLoader | None], host: str, port: int
) -> web.AppRunner:
    """Serve `/startupz`, `/readyz`, `/livez`, `/metrics` and the adapters' endpoints; the caller cleans the returned
    runner up."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    add_adapter_routes(app, adapters)
    for path, ask in (("/startupz", probes.startup), ("/readyz", probes.ready), ("/livez", probes.live)):
        app.router.add_get(path, _probe_handler(ask))
    app.router.add_get("/metrics", _metrics_handler(probes.metrics))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


def _probe_handler(ask: Callable[[], Probe]) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return ask().response

    return handle


def _metrics_handler(render: Callable[[], bytes]) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return handle
