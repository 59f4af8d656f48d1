"""An HTTP server whose answers have the shape of ours, tokens at the same pace: what a gateway's time is measured
against, and what peers stand in front of.

    python -m tierline_cli.bench.gateway.mock_server SERVERS PERIOD_MS

prints one line of JSON, the ports, and serves until its input ends. It reads no more of HTTP than the benchmark's
client and gateways send, so that it costs next to nothing.
"""

import asyncio
import json
import re
import sys
from functools import partial
from typing import Final, cast

import uvloop

from tierline_cli.bench.gateway.mock_answers import MODEL, TOKEN_TEXT, stream_event, whole_body
from tierline_cli.bench.gateway.until_input_ends import until_input_ends

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TOKENS: Final = re.compile(rb'"max_tokens": *(\d+)')
_STREAM: Final = re.compile(rb'"stream": *true')
_SSE_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_LAST_CHUNK: Final = b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_TOKEN_CHUNK: Final = _chunk(stream_event(TOKEN_TEXT, None))
_FIRST_CHUNKS: Final = _SSE_HEAD + _chunk(stream_event("", None)) + _TOKEN_CHUNK
_END: Final = _chunk(stream_event(None, "length")) + _chunk(b"data: [DONE]\n\n") + _LAST_CHUNK


class MockServer:
    """The pace of one server: every answer in it gets one token an iteration."""

    def __init__(self, period_s: float, offset_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._period_s = period_s
        self._answers: set[_Connection] = set()
        self._next_s = self._loop.time() + offset_s
        self._loop.call_at(self._next_s, self._iterate)

    def add(self, answer: "_Connection") -> None:
        self._answers.add(answer)

    def remove(self, answer: "_Connection") -> None:
        self._answers.discard(answer)

    def _iterate(self) -> None:
        for answer in tuple(self._answers):
            answer.iterate()
        self._next_s = max(self._next_s + self._period_s, self._loop.time())
        self._loop.call_at(self._next_s, self._iterate)


class _Connection(asyncio.Protocol):
    def __init__(self, server: MockServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._tokens = self._given = 0
        self._stream = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.remove(self)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, blank, body = self._unread.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if blank and len(body) >= (int(length[1]) if length else 0):
            self._unread = b""
            self._asked(head, body)

    def iterate(self) -> None:
        self._given += 1
        if self._stream:
            self._write(_FIRST_CHUNKS if self._given == 1 else _TOKEN_CHUNK)
        if self._given < self._tokens:
            return
        self._server.remove(self)
        self._write(_END if self._stream else _json_response(whole_body(self._tokens)))

    def _asked(self, head: bytes, body: bytes) -> None:
        tokens = _TOKENS.search(body)
        if head.startswith(b"POST") and tokens:
            self._tokens, self._given, self._stream = int(tokens[1]), 0, bool(_STREAM.search(body))
            self._server.add(self)
        else:
            self._write(_json_response(_MODELS))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _json_response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


_MODELS: Final = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode()
"""What peers ask for to see whether a server lives and what it serves; it does for all they ask."""


async def serve(servers: int, period_s: float) -> None:
    loop = asyncio.get_running_loop()
    ports = []
    for number in range(servers):
        pace = MockServer(period_s, period_s * number / servers)
        listening = await loop.create_server(partial(_Connection, pace), "127.0.0.1", 0, backlog=4096)
        ports.append(listening.sockets[0].getsockname()[1])
    print(json.dumps({"ports": ports}), flush=True)  # noqa: T201 - the parent reads it
    await until_input_ends()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
