"""Streams as a client sees them, told by their token ids."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from e2e_waiting import HANGS_SECONDS, eventually
from openai import APIError, AsyncOpenAI

from tierline.api.names import HEADER_REQUEST_ID


@dataclass
class Stream:
    """A streamed chat that is read in the background; `ids` grows as tokens arrive."""

    prompt: str
    ids: list[int] = field(default_factory=list)
    text: str = ""
    request_id: str = ""
    finish_reason: str = ""
    completion_tokens: int | None = None
    _reading: asyncio.Task[None] | None = None

    async def until(self, tokens: int, within_s: float = HANGS_SECONDS) -> None:
        """Wait until so many tokens have arrived; a stream that breaks raises what broke it."""

        async def enough() -> bool:
            if self._reading is not None and self._reading.done():
                self._reading.result()
            return len(self.ids) >= tokens

        await eventually(enough, within_s, f"{tokens} tokens of {self.request_id}")

    async def end(self, within_s: float = HANGS_SECONDS) -> "Stream":
        """Wait for the regular end; raises what the client got instead."""
        assert self._reading is not None
        await asyncio.wait_for(self._reading, within_s)
        return self

    async def broken(self, within_s: float) -> bool:
        """Wait for the end and say whether it was an error."""
        try:
            await self.end(within_s)
        except APIError:
            return True
        return False

    async def hang_up(self) -> None:
        """Leave as a client whose connection goes away."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    @property
    def ended(self) -> bool:
        return self._reading is not None and self._reading.done()


def open_stream(client: AsyncOpenAI, model: str, prompt: str, tokens: int, **options: Any) -> Stream:
    """Begin a streamed chat of exactly `tokens` tokens; greedy unless `options` say otherwise."""
    stream = Stream(prompt)
    request = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream_options": {"include_usage": True},
        "extra_body": {"ignore_eos": True, "return_token_ids": True},
        **options,
    }
    stream._reading = asyncio.create_task(_read(stream, client, request))
    return stream


async def whole_answer(client: AsyncOpenAI, model: str, prompt: str, tokens: int, **options: Any) -> Stream:
    """Return the same stream once it has ended."""
    return await open_stream(client, model, prompt, tokens, **options).end()


def assert_whole(stream: Stream, tokens: int) -> None:
    """Nothing is missing and nothing came twice, by the ids, the server's count and the reason of the end."""
    assert len(stream.ids) == tokens
    assert stream.completion_tokens == tokens
    assert stream.finish_reason == "length"


async def _read(stream: Stream, client: AsyncOpenAI, request: dict[str, Any]) -> None:
    chunks = await client.chat.completions.create(stream=True, **request)
    stream.request_id = chunks.response.headers.get(HEADER_REQUEST_ID, "")
    async for chunk in chunks:
        if chunk.usage is not None:
            stream.completion_tokens = chunk.usage.completion_tokens
        for choice in chunk.choices:
            stream.ids += (choice.model_extra or {}).get("token_ids") or []
            stream.text += choice.delta.content or ""
            stream.finish_reason = choice.finish_reason or stream.finish_reason
