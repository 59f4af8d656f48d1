"""Accepts gateways and carries frames between them and the engine."""

import asyncio
import contextlib
from collections.abc import Callable

from tierline.wire.frames import HEARTBEAT_SECONDS, Cancel, Demand, GatewayFrame, Iteration, Refusal, Submit
from tierline_worker.engine.messages import (
    Cancelled,
    Demanded,
    GatewayJoined,
    GatewayLeft,
    Message,
    Outgoing,
    Submitted,
)
from tierline_worker.gateways.connection import GatewayConnection

_CLOSE_SECONDS = 1.0


class GatewayServer:
    """All connections of this worker; lives on the event loop's thread.

    `post` hands a message to the engine. `healthy` says whether the engine makes progress: a worker whose engine is
    stuck sends no heartbeats, so that gateways count it as lost and move its streams.
    """

    def __init__(
        self, post: Callable[[Message], None], healthy: Callable[[], bool], on_dropped: Callable[[], None]
    ) -> None:
        self._post = post
        self._healthy = healthy
        self._on_dropped = on_dropped
        self._connections: dict[int, GatewayConnection] = {}
        self._numbers = 0
        self._server: asyncio.Server | None = None
        self._all_left = asyncio.Event()
        self._all_left.set()

    @property
    def gateways(self) -> int:
        return len(self._connections)

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port (useful when 0 was asked for)."""
        self._server = await asyncio.get_running_loop().create_server(self._connection, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def heartbeat(self) -> None:
        """Keep silent connections alive, for ever."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS / 2)
            if self._healthy():
                self._beat(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Stop listening and close every connection once what was written is sent, within a second."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections.values()):
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._all_left.wait()

    def deliver(self, outgoing: list[Outgoing]) -> None:
        """Send the engine's frames; those for gateways that are gone are dropped."""
        for item in outgoing:
            connection = self._connections.get(item.gateway)
            if connection is None:
                continue
            connection.send(item.frame)
            if isinstance(item.frame, Refusal):
                connection.close()

    def joined(self, connection: GatewayConnection) -> None:
        self._connections[connection.number] = connection
        self._all_left.clear()
        self._post(GatewayJoined(connection.number))

    def received(self, connection: GatewayConnection, frame: GatewayFrame) -> None:
        if isinstance(frame, Submit):
            self._post(Submitted(connection.number, frame))
        elif isinstance(frame, Cancel):
            self._post(Cancelled(connection.number, frame))
        elif isinstance(frame, Demand):
            self._post(Demanded(connection.number, frame))

    def left(self, connection: GatewayConnection) -> None:
        if self._connections.pop(connection.number, None) is not None:
            self._post(GatewayLeft(connection.number))
        if not self._connections:
            self._all_left.set()

    def dropped(self, connection: GatewayConnection) -> None:
        self._on_dropped()
        self.left(connection)

    def _connection(self) -> GatewayConnection:
        self._numbers += 1
        return GatewayConnection(self._numbers, self)

    def _beat(self, now_s: float) -> None:
        for connection in list(self._connections.values()):
            last = connection.last_iteration
            if last is not None and now_s - connection.last_sent_at >= HEARTBEAT_SECONDS:
                connection.send(Iteration(last.number, last.signals, last.credits))
