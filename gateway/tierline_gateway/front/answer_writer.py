"""Writes one answer to its client, as server-sent events or as one body."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import msgspec
from aiohttp import web

from tierline_gateway.front.answer_lines import AnswerLines
from tierline_gateway.front.api_errors import ApiError, failed
from tierline_gateway.front.event_stream import EventStream
from tierline_gateway.front.event_template import event_of
from tierline_gateway.front.openai_responses import ResponseShape, WholeChoice
from tierline_gateway.streams.answer import Answer
from tierline_gateway.streams.live import LiveRequest, Piece

log = logging.getLogger(__name__)

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
        # What comes is left where it is until an end; only that it came is told.
        self.answer.news.listen(self._count)
        async for index, piece in self.answer.pieces():
            if piece is None:
                choices[index].finish_reason = self._finish_reason(index)
            else:
                choices[index].add(piece)
        self._count()
        body = self.shape.whole(choices)
        return web.Response(body=msgspec.json.encode(body), content_type="application/json", headers=self.headers)

    def _count(self) -> bool:
        """Tell of tokens that came since the last time; returns whether no choice has ended."""
        ended = False
        for live in self.answer.choices:
            fresh = live.visible_tokens - live.delivery.tokens
            if fresh:
                self.delivered(live, fresh)
            ended = ended or live.life.done
        return not ended

    async def write_stream(self, request: web.Request) -> web.StreamResponse:
        """Stream the answer; a refusal before the first token keeps its HTTP status, a later error is an event."""
        pieces = self.answer.pieces()
        opening = await anext(pieces, None)
        stream = EventStream(request, self.headers)
        await stream.open()
        await self._write_events(stream, opening, pieces)
        await stream.close()
        return stream.response

    async def _write_events(self, stream: EventStream, opening: _Event | None, pieces: AsyncIterator[_Event]) -> None:
        lines = AnswerLines(self.answer, self.shape, stream, self.delivered)
        for index in range(len(self.answer.choices)):
            await stream.write(event_of(self.shape.first_chunk(index)))
        try:
            if opening is not None:
                await lines.write(*opening)
            self.answer.news.listen(lines.write_now)
            async for index, piece in pieces:
                await lines.write(index, piece)
        except ApiError as error:
            await self._tell(stream, error)
            return
        except ConnectionError:
            raise
        except Exception:
            log.exception("the answer %s cannot go on", self.answer.first.request_id)
            await self._tell(stream, failed("The gateway could not go on with this answer; try again."))
            return
        if self.shape.generation.include_usage:
            await stream.write(event_of(self.shape.usage_chunk(self.answer.delivered_tokens)))
        await stream.write(_DONE)

    async def _tell(self, stream: EventStream, error: ApiError) -> None:
        """End with an error; other choices may still run, but nothing of them is told any more."""
        self.answer.news.listen(None)
        await stream.write(event_of({"error": error.error_object()}))

    def _finish_reason(self, index: int) -> str:
        return str(self.answer.choices[index].life.finish_reason)
