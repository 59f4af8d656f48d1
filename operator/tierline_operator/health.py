"""Probes and metrics over HTTP, served by leaders and waiting replicas alike."""

from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest


async def serve_health(
    host: str,
    port: int,
    is_ready: Callable[[], bool],
    registry: CollectorRegistry,
    account_of: Callable[[str, str], dict[str, Any] | None],
) -> web.AppRunner:
    """Serve /livez, /readyz, /metrics and /debug/planning; the caller cleans the returned runner up."""

    async def livez(_: web.Request) -> web.Response:
        return _closing(web.Response(text="ok\n"))

    async def readyz(_: web.Request) -> web.Response:
        if is_ready():
            return _closing(web.Response(text="ok\n"))
        return _closing(web.Response(status=503, text="still reading the cluster\n"))

    async def metrics(_: web.Request) -> web.Response:
        return _closing(web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}))

    async def planning(request: web.Request) -> web.Response:
        account = account_of(request.match_info["namespace"], request.match_info["fleet"])
        if account is None:
            return _closing(web.Response(status=404, text="does not lead, or knows no such fleet\n"))
        return _closing(web.json_response(account))

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    app.add_routes([web.get("/debug/planning/{namespace}/{fleet}", planning)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


def _closing(response: web.Response) -> web.Response:
    # A kept connection is a task, and kopf waits for every task that began after itself before it ends.
    response.force_close()
    return response
