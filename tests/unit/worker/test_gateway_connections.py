"""Connections: greeting, bad frames, heartbeats, slow readers; with a server in this process and no engine."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from wire_client import WireClient

from tierline.wire.frames import (
    PROTOCOL_VERSION,
    Credits,
    Hello,
    Iteration,
    Refusal,
    Sampling,
    Signals,
    Submit,
    TokenBatch,
    encode,
)
from tierline_worker.engine.messages import GatewayJoined, GatewayLeft, Message, Outgoing, Submitted
from tierline_worker.gateways.framing import FrameBuffer
from tierline_worker.gateways.server import GatewayServer

FIRST = Iteration(0, Signals(), Credits(4, 40))


@dataclass
class Served:
    """A server whose messages are kept; `healthy` can be turned off."""

    inbox: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    healthy: bool = True
    dropped: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self.server = GatewayServer(self.inbox.put_nowait, lambda: self.healthy, self._drop)

    def _drop(self) -> None:
        self.dropped += 1

    async def connect(self) -> tuple[WireClient, int]:
        """Connect one gateway and answer its hello with a first frame."""
        client = await WireClient.open("127.0.0.1", self.port)
        client.send(Hello(PROTOCOL_VERSION, "g"))
        joined = await self.next()
        assert isinstance(joined, GatewayJoined)
        self.server.deliver([Outgoing(joined.gateway, FIRST)])
        await client.receive()
        return client, joined.gateway

    async def next(self) -> Message:
        async with asyncio.timeout(10):
            return await self.inbox.get()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    made.port = await made.server.start("127.0.0.1", 0)
    beating = asyncio.create_task(made.server.heartbeat())
    yield made
    beating.cancel()
    await made.server.close()


def test_frames_are_cut_out_of_any_pieces():
    frames = [encode(Submit(f"r{n}", n, tuple(range(n)), Sampling(1))) for n in range(5)]
    stream = b"".join(frames)
    for size in (1, 3, 7, len(stream)):
        buffer = FrameBuffer()
        bodies = [body for at in range(0, len(stream), size) for body in buffer.feed(stream[at : at + size])]
        assert bodies == [frame[4:] for frame in frames]


async def test_submits_reach_the_engine_and_leaving_is_told(served):
    client, gateway = await served.connect()
    client.send(Submit("a", 1, (1, 2), Sampling(3)))
    assert await served.next() == Submitted(gateway, Submit("a", 1, (1, 2), Sampling(3)))
    await client.close()
    assert await served.next() == GatewayLeft(gateway)


async def test_another_protocol_version_is_refused_in_words(served):
    client = await WireClient.greet("127.0.0.1", served.port, version=99)
    assert isinstance(client.frames[0], Refusal)
    assert "version 99" in client.frames[0].reason
    await client.closed()


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x03abc",
        encode(Submit("early", 1, (1,), Sampling(1))),
        encode(Hello(PROTOCOL_VERSION, "")),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_nonsense_closes_that_connection_only(served, raw, caplog):
    other, gateway = await served.connect()
    client = await WireClient.open("127.0.0.1", served.port)
    client.writer.write(raw)
    await client.closed()
    assert "is closed" in caplog.text
    served.server.deliver([Outgoing(gateway, FIRST)])
    assert await other.receive() == FIRST
    assert served.inbox.empty()


async def test_a_malformed_frame_after_the_greeting_ends_the_gateway(served):
    client, gateway = await served.connect()
    client.writer.write(b"\x00\x00\x00\x02\xc1\xc1")
    assert await served.next() == GatewayLeft(gateway)
    await client.closed()


async def test_silence_is_filled_with_heartbeats_while_the_engine_is_healthy(served):
    client, gateway = await served.connect()
    served.server.deliver([Outgoing(gateway, Iteration(7, Signals(), Credits(5, 50), (TokenBatch("a", 1, 0, (3,)),)))])
    await client.receive()
    assert await client.receive() == Iteration(7, Signals(), Credits(5, 50))
    served.healthy = False
    await client.silence(0.6)


async def test_a_gateway_that_does_not_read_is_dropped_and_blocks_nobody(served):
    slow, slow_number = await served.connect()
    quick, quick_number = await served.connect()
    large = Iteration(1, Signals(), Credits(1, 1), (TokenBatch("x" * 1_000_000, 1, 0, (1,)),))
    for _ in range(40):
        served.server.deliver([Outgoing(slow_number, large)])
    assert served.dropped == 1
    assert await served.next() == GatewayLeft(slow_number)
    served.server.deliver([Outgoing(quick_number, FIRST)])
    assert await quick.receive() == FIRST
    await slow.close()
