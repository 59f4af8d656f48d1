"""Connections that never ask for anything are closed: aiohttp bounds the time between requests, not before the first.

    a connection whose first head is not whole HEAD_S after it was seen first is aborted

Inputs: the server's open connections and those that a request came from, told by `note` as a middleware. Bounds: a
sweep each `SWEEP_S`, so a silent connection lives at most `HEAD_S` + `SWEEP_S`. A connection between two requests is
not touched; `KEEPALIVE_S` bounds that.
"""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler

HEAD_S = 20.0
SWEEP_S = 5.0
KEEPALIVE_S = 650.0
"""Above the 600 s of cloud load balancers, which reuse a connection until then."""


class SilentConnections:
    """Follows one server's connections; `sweep` runs for ever."""

    def __init__(self) -> None:
        self._spoke: set[RequestHandler] = set()
        self._first_seen_s: dict[RequestHandler, float] = {}

    def middleware(self) -> Middleware:
        """Return what notes that a connection asked for something."""

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._spoke.add(request.protocol)
            return await handler(request)

        return note

    async def sweep(self, server: web.Server) -> None:
        clock_s = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(SWEEP_S)
            self.close_silent(server, clock_s())

    def close_silent(self, server: web.Server, now_s: float) -> None:
        """Abort who said nothing for `HEAD_S`, and forget who is gone."""
        connections = server.connections
        self._spoke.intersection_update(connections)
        silent = (connection for connection in connections if connection not in self._spoke)
        self._first_seen_s = {connection: self._first_seen_s.get(connection, now_s) for connection in silent}
        for connection, since_s in self._first_seen_s.items():
            if now_s - since_s >= HEAD_S and connection.transport is not None:
                connection.transport.abort()
