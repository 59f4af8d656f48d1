"""Workers that speak our frames and compute nothing, many in one process.

    python -m tierline_cli.bench.gateway.mock_worker WORKERS PERIOD_MS

prints one line of JSON, the ports, and serves until its input ends. Each worker gives every request it holds one token
an iteration, unless its gateway has left too much unread. Iterations of different workers do not fall together.
"""

import asyncio
import json
import sys
from functools import partial
from typing import Final, cast

import uvloop

from tierline.wire.credits import submit_cost_blocks
from tierline.wire.frames import (
    HEARTBEAT_SECONDS,
    PROTOCOL_VERSION,
    Cancel,
    Credits,
    Hello,
    Iteration,
    Signals,
    Submit,
    TokenBatch,
    Welcome,
    decode_gateway,
    encode,
)
from tierline_cli.bench.gateway.mock_answers import MODEL, TOKEN_ID
from tierline_cli.bench.gateway.until_input_ends import until_input_ends
from tierline_gateway.workers.frame_buffer import FrameBuffer

BLOCK_TOKENS: Final = 16
BLOCKS: Final = 1_000_000
REQUESTS: Final = 65_536
WINDOW_TOKENS: Final = 8192
MOST_UNREAD_BYTES: Final = 64 * 1024
_TOKEN: Final = (TOKEN_ID,)


class MockWorker(asyncio.Protocol):
    """One gateway's connection to one worker."""

    def __init__(self, name: str, period_s: float, offset_s: float) -> None:
        self._name = name
        self._period_s = period_s
        self._offset_s = offset_s
        self._loop = asyncio.get_running_loop()
        self._frames = FrameBuffer()
        self._held: dict[str, tuple[int, int, int]] = {}
        self._spent_requests = self._spent_blocks = self._number = 0
        self._transport: asyncio.Transport | None = None
        self._next_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next_s = self._loop.time() + self._offset_s
        self._loop.call_at(self._next_s, self._iterate)
        self._loop.call_later(HEARTBEAT_SECONDS, self._beat)

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            match decode_gateway(body):
                case Hello():
                    self._send(
                        Welcome(
                            version=PROTOCOL_VERSION,
                            worker_id=self._name,
                            model=MODEL,
                            block_tokens=BLOCK_TOKENS,
                            total_blocks=BLOCKS,
                            max_model_tokens=WINDOW_TOKENS,
                            credits=self._credits(),
                        )
                    )
                case Submit() as submit:
                    self._spent_requests += 1
                    context = len(submit.prompt_ids) + len(submit.emitted_ids)
                    self._spent_blocks += submit_cost_blocks(context, BLOCK_TOKENS)
                    position = len(submit.emitted_ids)
                    self._held[submit.request_id] = (submit.epoch, position, submit.sampling.max_tokens)
                case Cancel(request_id):
                    self._held.pop(request_id, None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def _iterate(self) -> None:
        if self._transport is None:
            return
        if self._held and self._transport.get_write_buffer_size() < MOST_UNREAD_BYTES:
            self._send_iteration(tuple(self._batches()))
        self._next_s = max(self._next_s + self._period_s, self._loop.time())
        self._loop.call_at(self._next_s, self._iterate)

    def _batches(self) -> list[TokenBatch]:
        batches = []
        for request_id, (epoch, position, most) in list(self._held.items()):
            ended = position + 1 >= most
            batches.append(TokenBatch(request_id, epoch, position, _TOKEN, "length" if ended else ""))
            if ended:
                del self._held[request_id]
            else:
                self._held[request_id] = (epoch, position + 1, most)
        return batches

    def _send_iteration(self, batches: tuple[TokenBatch, ...]) -> None:
        self._number += 1
        signals = Signals(running_requests=len(self._held), total_blocks=BLOCKS)
        self._send(Iteration(self._number, signals, self._credits(), batches))

    def _beat(self) -> None:
        if self._transport is not None:
            self._send_iteration(())
            self._loop.call_later(HEARTBEAT_SECONDS, self._beat)

    def _credits(self) -> Credits:
        return Credits(self._spent_requests + REQUESTS - len(self._held), self._spent_blocks + BLOCKS)

    def _send(self, frame: Welcome | Iteration) -> None:
        if self._transport is not None:
            self._transport.write(encode(frame))


async def serve(workers: int, period_s: float) -> None:
    loop = asyncio.get_running_loop()
    ports = []
    for number in range(workers):
        make = partial(MockWorker, f"mock-{number}", period_s, period_s * number / workers)
        server = await loop.create_server(make, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps({"ports": ports}), flush=True)  # noqa: T201 - the parent reads it
    await until_input_ends()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
