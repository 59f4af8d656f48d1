"""One connection to a worker: bytes in, frame bodies out, and when something was heard last."""

import asyncio
import logging
from collections.abc import Callable

from tierline.wire.frames import FrameError
from tierline_gateway.workers.frame_buffer import FrameBuffer

log = logging.getLogger(__name__)


class WorkerSession(asyncio.Protocol):
    """Bytes of one connection. `last_heard` is kept here, where data comes in: a stalled event loop must not look
    like a silent worker."""

    def __init__(self, on_body: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = FrameBuffer()
        self._on_body = on_body
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self.last_heard = self._loop.time()

    def data_received(self, data: bytes) -> None:
        self.last_heard = self._loop.time()
        try:
            for body in self._buffer.feed(data):
                self._on_body(body)
        except FrameError as error:
            log.error("worker broke the protocol: %s", error)
            self.end("ProtocolError")

    @property
    def silent_s(self) -> float:
        return self._loop.time() - self.last_heard

    def connection_lost(self, exc: Exception | None) -> None:
        self.end("ConnectionLost")

    def end(self, cause: str) -> None:
        if not self.closed.done():
            self.closed.set_result(cause)
