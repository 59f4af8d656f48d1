"""The gateway's two listening ports."""

import asyncio
from pathlib import Path

from aiohttp import web

from tierline_gateway.front.admin import AdminEndpoints
from tierline_gateway.front.endpoints import AnswersLater, OpenAIEndpoints
from tierline_gateway.front.silence import KEEPALIVE_S, SilentConnections
from tierline_gateway.service import GatewayService

BACKLOG = 4096


class GatewayServers:
    """Client-facing and admin server of one gateway."""

    def __init__(self, service: GatewayService, later: AnswersLater | None = None) -> None:
        self._silent = SilentConnections()
        self._sweep: asyncio.Task[None] | None = None
        application = OpenAIEndpoints(service, later).application()
        application.middlewares.insert(0, self._silent.middleware())
        # A handler is cancelled when its client leaves, which cancels the request on its worker at once.
        self._clients = web.AppRunner(
            application,
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=1.0,
            keepalive_timeout=KEEPALIVE_S,
        )
        self._admin = web.AppRunner(AdminEndpoints(service).application(), access_log=None, shutdown_timeout=1.0)
        self._client_site: web.TCPSite | None = None
        self.http_port = 0
        self.admin_port = 0

    async def start(self, host: str, http_port: int, admin: int | Path) -> None:
        """Listen; port 0 takes any free one, which `http_port` and `admin_port` then tell.

        With a path, `admin` is a socket in the file system and the HTTP port is shared with other processes.
        """
        await self._admin.setup()
        shared = isinstance(admin, Path)
        site = web.UnixSite(self._admin, admin) if isinstance(admin, Path) else web.TCPSite(self._admin, host, admin)
        await site.start()
        await self._clients.setup()
        self._client_site = web.TCPSite(self._clients, host, http_port, backlog=BACKLOG, reuse_port=shared or None)
        await self._client_site.start()
        assert self._clients.server is not None, "set up above"
        self._sweep = asyncio.create_task(self._silent.sweep(self._clients.server), name="silent-connections")
        self.http_port = int(self._clients.addresses[0][1])
        self.admin_port = 0 if shared else int(self._admin.addresses[0][1])

    async def stop_accepting(self) -> None:
        """Close the client port; answers that stream go on."""
        if self._client_site is not None:
            await self._client_site.stop()

    async def stop(self) -> None:
        """Close both ports and every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        await self._clients.cleanup()
        await self._admin.cleanup()
