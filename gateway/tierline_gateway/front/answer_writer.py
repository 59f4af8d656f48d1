"""Writes one answer to its client, as server-sent events or as one body."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from tierline_gateway.front.api_errors import ApiError, failed
from tierline_gateway.front.openai_responses import ResponseShape, WholeChoice
from tierline_gateway.streams.answer import Answer
from tierline_gateway.streams.live import LiveRequest, Piece

log = logging.getLogger(__name__)

SLOW_CLIENT_S = 60.0
_SSE_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
_DONE = b"data: [DONE]\n\n"
_Event = tuple[int, Piece | None]


@dataclass(frozen=True, slots=True)
class AnswerWriter:
    """One answer on its way out. `delivered` is told of the tokens that reached the client's connection."""

    answer: Answer
    shape: ResponseShape
    headers: Mapping[str, str]
    delivered: Callable[[LiveRequest, int], None]

    async def write_whole(self) -> web.Response:
        """Wait for the whole answer; raises `ApiError` when there is none."""
        choices = [WholeChoice() for _ in self.answer.choices]
        async for index, piece in self.answer.pieces():
            if piece is None:
                choices[index].finish_reason = self._finish_reason(index)
            else:
                choices[index].add(piece)
                self.delivered(self.answer.choices[index], len(piece.token_ids))
        body = self.shape.whole(choices)
        return web.Response(body=msgspec.json.encode(body), content_type="application/json", headers=self.headers)

    async def write_stream(self, request: web.Request) -> web.StreamResponse:
        """Stream the answer; a refusal before the first token keeps its HTTP status, a later error is an event.

        A client that takes nothing for `SLOW_CLIENT_S` is disconnected, so that its request frees a worker.
        """
        pieces = self.answer.pieces()
        opening = await anext(pieces, None)
        response = web.StreamResponse(headers={**_SSE_HEADERS, **self.headers})
        await response.prepare(request)
        try:
            await self._write_events(response, opening, pieces)
            async with asyncio.timeout(SLOW_CLIENT_S):
                await response.write_eof()
        except TimeoutError as error:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client reads too slowly") from error
        return response

    async def _write_events(
        self, response: web.StreamResponse, opening: _Event | None, pieces: AsyncIterator[_Event]
    ) -> None:
        for index in range(len(self.answer.choices)):
            await _send(response, self.shape.first_chunk(index))
        try:
            if opening is not None:
                await self._write_event(response, *opening)
            await self._write_rest(response, pieces)
        except ApiError as error:
            await _send(response, {"error": error.error_object()})
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            log.exception("the answer %s cannot go on", self.answer.first.request_id)
            message = "The gateway could not go on with this answer; try again."
            await _send(response, {"error": failed(message).error_object()})

    async def _write_rest(self, response: web.StreamResponse, pieces: AsyncIterator[_Event]) -> None:
        async for index, piece in pieces:
            await self._write_event(response, index, piece)
        if self.shape.generation.include_usage:
            await _send(response, self.shape.usage_chunk(self.answer.delivered_tokens))
        await _write(response, _DONE)

    async def _write_event(self, response: web.StreamResponse, index: int, piece: Piece | None) -> None:
        if piece is None:
            for chunk in self.shape.last_chunks(index, self._finish_reason(index)):
                await _send(response, chunk)
            return
        for chunk in self.shape.chunks(index, piece):
            await _send(response, chunk)
        self.delivered(self.answer.choices[index], len(piece.token_ids))

    def _finish_reason(self, index: int) -> str:
        return str(self.answer.choices[index].life.finish_reason)


async def _send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await _write(response, b"data: " + msgspec.json.encode(event) + b"\n\n")


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(SLOW_CLIENT_S):
        await response.write(data)
