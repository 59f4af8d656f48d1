"""One gateway's connection."""

import asyncio
import logging
import socket
from typing import Protocol, cast

from tierline.wire.frames import (
    PROTOCOL_VERSION,
    FrameError,
    GatewayFrame,
    Hello,
    Iteration,
    Refusal,
    WorkerFrame,
    decode_gateway,
    encode,
)
from tierline_worker.gateways.framing import FrameBuffer

_LOG = logging.getLogger(__name__)

HELLO_SECONDS = 10.0
MAX_UNREAD_BYTES = 8 * 1024 * 1024
_DEAD_PEER_MS = 10_000


class ConnectionEvents(Protocol):
    """What a connection tells its server."""

    def joined(self, connection: "GatewayConnection") -> None: ...
    def received(self, connection: "GatewayConnection", frame: GatewayFrame) -> None: ...
    def left(self, connection: "GatewayConnection") -> None: ...
    def dropped(self, connection: "GatewayConnection") -> None: ...


class GatewayConnection(asyncio.Protocol):
    """Speaks frames with one gateway. Whatever is wrong with it ends this connection and nothing else.

    A gateway that does not read is dropped at `max_unread_bytes`; its streams are its own to move, the engine never
    waits for it.
    """

    def __init__(self, number: int, events: ConnectionEvents, max_unread_bytes: int = MAX_UNREAD_BYTES) -> None:
        self.number = number
        self.gateway_id = ""
        self.last_iteration: Iteration | None = None
        self.last_sent_at = 0.0
        self._events = events
        self._max_unread_bytes = max_unread_bytes
        self._buffer = FrameBuffer()
        self._transport: asyncio.Transport | None = None
        self._hello_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport but not its type.
        self._transport = cast("asyncio.Transport", transport)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            # A peer that vanished without a word is noticed by its missing acknowledgements.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
        self._hello_timer = asyncio.get_running_loop().call_later(HELLO_SECONDS, self._close, "said no hello")

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._buffer.feed(data):
                self._received(decode_gateway(body))
        except FrameError as error:
            self._close(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._stop_timer()
        if self.gateway_id:
            self._events.left(self)

    def send(self, frame: WorkerFrame) -> None:
        """Send a frame, or drop the connection when the gateway has left too much unread."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(encode(frame))
        self.last_sent_at = asyncio.get_running_loop().time()
        if isinstance(frame, Iteration):
            self.last_iteration = frame
        if self._transport.get_write_buffer_size() > self._max_unread_bytes:
            _LOG.warning("gateway %s reads too slowly, its connection is dropped", self.gateway_id)
            self._transport.abort()
            self._events.dropped(self)

    def close(self) -> None:
        """Close after everything written has been sent."""
        if self._transport is not None:
            self._transport.close()

    def _received(self, frame: GatewayFrame) -> None:
        if isinstance(frame, Hello):
            self._hello(frame)
        elif self.gateway_id:
            self._events.received(self, frame)
        else:
            raise FrameError(f"{type(frame).__name__} before Hello")

    def _hello(self, frame: Hello) -> None:
        self._stop_timer()
        if self.gateway_id or not frame.gateway_id:
            raise FrameError("Hello without gateway_id, or a second one")
        if frame.version != PROTOCOL_VERSION:
            self.send(
                Refusal(f"protocol version {frame.version} is not supported, this worker speaks {PROTOCOL_VERSION}")
            )
            self._close(f"speaks protocol version {frame.version}")
            return
        self.gateway_id = frame.gateway_id
        self._events.joined(self)

    def _close(self, why: str) -> None:
        _LOG.warning("connection %d of gateway %s is closed: %s", self.number, self.gateway_id or "(unknown)", why)
        self.close()

    def _stop_timer(self) -> None:
        if self._hello_timer is not None:
            self._hello_timer.cancel()
