"""A client of streamed and whole answers that costs little, so that thousands of them fit beside what they measure.

It understands as much of HTTP/1.1 as the servers of the benchmark send: a status, a length or chunks, and an end.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final, cast

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK: Final = b"0\r\n\r\n"
_EVENT: Final = b"data: "
_DONE: Final = b"data: [DONE]"


@dataclass(slots=True)
class Exchange:
    """One request and what came of it; times are the event loop's seconds, 0 while it has not come to that.

    `events` counts server-sent events, the opening one, the closing one and [DONE] among them.
    """

    sent_s: float
    first_event_s: float = 0.0
    ended_s: float = 0.0
    events: int = 0
    ok: bool = False
    problem: str = ""


class ClientConnection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._finished: asyncio.Future[None] | None = None
        self._head = b""
        self._body_left: int | None = None
        self._streamed = self._done_seen = False
        self._tail = b""

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end(problem="the connection was lost")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def ask(self, message: bytes, exchange: Exchange) -> None:
        """Send a whole request and wait for the end of its answer, which `exchange` tells."""
        assert self._transport is not None, "asked after the connection was lost"
        self._exchange, self._finished = exchange, self._loop.create_future()
        self._head, self._tail, self._body_left = b"", b"", None
        self._streamed = self._done_seen = False
        self._transport.write(message)
        await self._finished

    def data_received(self, data: bytes) -> None:
        if self._exchange is not None:
            self._body_came(data) if self._head else self._head_came(data)

    def _head_came(self, data: bytes) -> None:
        self._tail += data
        head, end, rest = self._tail.partition(_HEAD_END)
        if not end:
            return
        self._head, self._tail = head, b""
        length = _LENGTH.search(head)
        self._body_left = int(length[1]) if length else None
        self._streamed = b"text/event-stream" in head
        if not head.startswith(b"HTTP/1.1 200"):
            self._end(head.partition(b"\r\n")[0].decode(errors="replace"))
        else:
            self._body_came(rest)

    def _body_came(self, data: bytes) -> None:
        # What is looked for may be cut in two; the tail is shorter than the longest of it.
        seen = self._tail + data
        if self._streamed and data:
            self._count(seen)
        self._tail = seen[-len(_DONE) + 1 :]
        if self._body_left is not None:
            self._body_left -= len(data)
            if self._body_left <= 0:
                self._end()
        elif seen.endswith(_LAST_CHUNK):
            self._end("" if self._done_seen or not self._streamed else "the stream ended without [DONE]")

    def _count(self, seen: bytes) -> None:
        assert self._exchange is not None
        if not self._exchange.first_event_s:
            self._exchange.first_event_s = self._loop.time()
        self._exchange.events += seen.count(_EVENT) - self._tail.count(_EVENT)
        self._done_seen = self._done_seen or _DONE in seen

    def _end(self, problem: str = "") -> None:
        exchange, finished = self._exchange, self._finished
        if exchange is None or finished is None or finished.done():
            return
        exchange.ended_s, exchange.ok, exchange.problem = self._loop.time(), not problem, problem
        self._exchange = None
        finished.set_result(None)


def request_message(port: int, key: str, body: bytes) -> bytes:
    """Return a whole HTTP request for a chat answer."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
