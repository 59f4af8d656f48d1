"""The events of a streamed answer: what became visible of a choice, and its end."""

from collections.abc import Callable
from typing import Any

from tierline_gateway.front.event_stream import EventStream
from tierline_gateway.front.event_template import EventTemplate, event_of
from tierline_gateway.front.openai_responses import ResponseShape
from tierline_gateway.streams.answer import Answer
from tierline_gateway.streams.live import LiveRequest, Piece


class AnswerLines:
    """Writes them to the client's stream. `delivered` is told of the tokens that reached its connection."""

    def __init__(
        self,
        answer: Answer,
        shape: ResponseShape,
        stream: EventStream,
        delivered: Callable[[LiveRequest, int], None],
    ) -> None:
        self._answer = answer
        self._shape = shape
        self._stream = stream
        self._delivered = delivered
        self._templates = self._text_only()

    async def write(self, index: int, piece: Piece | None) -> None:
        """Write what became visible of a choice, or its end; waits for a slow client."""
        live = self._answer.choices[index]
        if piece is None:
            for chunk in self._shape.last_chunks(index, str(live.life.finish_reason)):
                await self._stream.write(event_of(chunk))
            return
        events = self._events(index, piece)
        if events:
            await self._stream.write(events)
        self._delivered(live, len(piece.token_ids))

    def write_now(self) -> bool:
        """Write all that became visible if the client keeps up; returns whether nothing is left to do."""
        if not self._stream.keeps_up:
            return False
        for index, live in enumerate(self._answer.choices):
            piece = live.take_visible()
            if piece is None:
                continue
            events = self._events(index, piece)
            if events:
                self._stream.write_now(events)
            self._delivered(live, len(piece.token_ids))
        return not self._answer.any_ended

    def _events(self, index: int, piece: Piece) -> bytes:
        """Return what tells a piece to the client, empty when there is nothing to tell."""
        if self._templates and not piece.logprobs:
            return self._templates[index].event(piece.text) if piece.text else b""
        return b"".join(map(event_of, self._shape.chunks(index, piece)))

    def _text_only(self) -> list[EventTemplate]:
        """Return each choice's template, none where pieces differ in more than their text."""
        generation = self._shape.generation
        if generation.tools or generation.return_token_ids or generation.continuous_usage:
            return []
        return [EventTemplate(self._body_of_text(index)) for index in range(len(self._answer.choices))]

    def _body_of_text(self, index: int) -> Callable[[str], Any]:
        return lambda text: self._shape.chunks(index, Piece(text, ()))[0]
