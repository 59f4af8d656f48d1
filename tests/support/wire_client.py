"""A gateway's end of the wire, for tests: one connection, frames in order, waits with a deadline."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from tierline.wire.frames import (
    LENGTH_BYTES,
    PROTOCOL_VERSION,
    GatewayFrame,
    Hello,
    Iteration,
    Submit,
    TokenBatch,
    WorkerFrame,
    body_length,
    decode_worker,
    encode,
)

DEADLINE_S = 30.0


@dataclass
class WireClient:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: list[WorkerFrame] = field(default_factory=list)

    @staticmethod
    async def open(host: str, port: int) -> "WireClient":
        reader, writer = await asyncio.open_connection(host, port)
        return WireClient(reader, writer)

    @staticmethod
    async def greet(host: str, port: int, gateway_id: str = "g", version: int = PROTOCOL_VERSION) -> "WireClient":
        """Connect, say hello, and read the worker's answer into `frames`."""
        client = await WireClient.open(host, port)
        client.send(Hello(version, gateway_id))
        await client.receive()
        return client

    def send(self, frame: GatewayFrame) -> None:
        self.writer.write(encode(frame))

    async def receive(self) -> WorkerFrame:
        async with asyncio.timeout(DEADLINE_S):
            header = await self.reader.readexactly(LENGTH_BYTES)
            frame = decode_worker(await self.reader.readexactly(body_length(header)))
        self.frames.append(frame)
        return frame

    async def until(self, wanted: Callable[[WorkerFrame], bool]) -> WorkerFrame:
        """Receive until a frame is `wanted` and return it."""
        while not wanted(frame := await self.receive()):
            pass
        return frame

    async def stream(self, submit: Submit) -> list[TokenBatch]:
        """Submit and return the request's batches to its end."""
        self.send(submit)
        await self.until(lambda frame: any(b.finish_reason for b in batches_of(frame, submit.request_id)))
        return self.batches(submit.request_id)

    def batches(self, request_id: str) -> list[TokenBatch]:
        return [batch for frame in self.frames for batch in batches_of(frame, request_id)]

    def tokens(self, request_id: str) -> list[int]:
        return [token for batch in self.batches(request_id) for token in batch.token_ids]

    async def silence(self, seconds: float) -> None:
        """Receive until nothing has come for `seconds`."""
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while asyncio.get_running_loop().time() < deadline:
            try:
                async with asyncio.timeout(seconds):
                    await self.receive()
            except TimeoutError:
                return
        raise AssertionError("frames keep coming")

    async def closed(self) -> None:
        """Receive until the worker has closed the connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self.receive()

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


def batches_of(frame: WorkerFrame, request_id: str) -> list[TokenBatch]:
    if not isinstance(frame, Iteration):
        return []
    return [batch for batch in frame.tokens if batch.request_id == request_id]
