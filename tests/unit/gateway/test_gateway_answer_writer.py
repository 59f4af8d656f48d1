"""A client that stops reading is disconnected, whichever part of the answer it leaves unread."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import HttpVersion11, web
from fake_wire_worker import letter_tokenizer
from gateway_rig import tenant, tier

from tierline.text.token_bytes import TokenBytes
from tierline.wire.frames import Sampling
from tierline.wire.states import FinishReason
from tierline_gateway.front import event_stream
from tierline_gateway.front.answer_writer import AnswerWriter
from tierline_gateway.front.generation import Generation
from tierline_gateway.front.openai_responses import ResponseShape
from tierline_gateway.streams.answer import Answer
from tierline_gateway.streams.live import LiveRequest

SAMPLING = Sampling(max_tokens=2, temperature=0.0, top_p=1.0, top_k=0, seed=1, stop_token_ids=(), ignore_eos=False)


class Transport:
    """Of a client that has left much unread."""

    aborted = False

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return event_stream.MOST_UNSENT_BYTES

    def abort(self) -> None:
        self.aborted = True


def response_stuck_at(part: str) -> type:
    class Stuck:
        """Takes everything until `part` comes."""

        def __init__(self, headers: object) -> None:
            pass

        def enable_chunked_encoding(self) -> None:
            pass

        async def prepare(self, request: web.Request) -> None:
            pass

        async def write(self, data: bytes) -> None:
            if part.encode() in data:
                await asyncio.Event().wait()

        async def write_eof(self) -> None:
            await self.write(b"<eof>")

    return Stuck


def letters(ids: Sequence[int]) -> str:
    return "".join(chr(96 + one) for one in ids)


def answered() -> LiveRequest:
    generation = Generation("m", (1,), SAMPLING, stream=True, include_usage=True)
    live = LiveRequest.begin(
        request_id="r", generation=generation, tenant=tenant("acme"), tier=tier("t", 1), decode=letters, now_ms=0.0
    )
    live.add_tokens([1, 2])
    live.finish(FinishReason.LENGTH)
    return live


@pytest.mark.parametrize("part", ["delta", "usage", "[DONE]", "<eof>"])
async def test_a_client_that_stops_reading_is_disconnected(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "SLOW_CLIENT_S", 0.02)
    monkeypatch.setattr(web, "StreamResponse", response_stuck_at(part))
    live, transport = answered(), Transport()
    shape = ResponseShape("r", live.generation, TokenBytes(letter_tokenizer()), created_s=0, chat=True)
    writer = AnswerWriter(Answer((live,), live.news), shape, {}, lambda *_: None)
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionResetError, match="too slowly"):
            await writer.write_stream(cast("web.Request", SimpleNamespace(transport=transport, version=HttpVersion11)))
    assert transport.aborted
