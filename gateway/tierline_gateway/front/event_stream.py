"""A stream of server-sent events to one client, on two lanes.

The slow lane waits: for headers to go out, and for a client that has left too much unread. The fast lane does not:
while the client keeps up, `write_now` hands bytes to the transport in the middle of an iteration's frame, which costs a
fraction of waking the request's task. Both write to the same transport in the order of their calls.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from types import MappingProxyType
from typing import Final

from aiohttp import HttpVersion11, web

SLOW_CLIENT_S = 60.0
MOST_UNSENT_BYTES: Final = 64 * 1024
"""With so much still unsent the fast lane is closed: what comes is joined until the client has read."""
HEADERS: Final = MappingProxyType(
    {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
    }
)


class EventStream:
    """The response to `request`; a client that takes nothing for `SLOW_CLIENT_S` is disconnected."""

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self.response = web.StreamResponse(headers={**HEADERS, **headers})
        self._request = request
        self._chunked = request.version >= HttpVersion11
        self._begun = False
        if self._chunked:
            self.response.enable_chunked_encoding()

    async def open(self) -> None:
        await self.response.prepare(self._request)

    async def write(self, event: bytes) -> None:
        """Write and wait for a slow client; raises `ConnectionResetError` when it is too slow or gone."""
        if self._begun and self.keeps_up:
            self.write_now(event)
            return
        await self._patiently(self.response.write(event))
        self._begun = True

    async def close(self) -> None:
        await self._patiently(self.response.write_eof())

    @property
    def keeps_up(self) -> bool:
        """Whether `write_now` may be used: the client is there and has read most of what was written."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return False
        return transport.get_write_buffer_size() < MOST_UNSENT_BYTES

    def write_now(self, event: bytes) -> None:
        """Write without waiting; only after the first `write`, which sends the headers, and while `keeps_up`."""
        transport = self._request.transport
        assert transport is not None, "asked keeps_up before"
        transport.write(b"%x\r\n%b\r\n" % (len(event), event) if self._chunked else event)

    async def _patiently(self, written: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(SLOW_CLIENT_S):
                await written
        except TimeoutError as error:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError("the client reads too slowly") from error
