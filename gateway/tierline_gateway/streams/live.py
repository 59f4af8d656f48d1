"""One request from admission to its end: its journal, its state, and the text that waits for its client."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from tierline.api.policy import TenantPolicy, TierPolicy
from tierline.scheduling.locality import chunk_keys
from tierline.wire.states import FinishReason, RequestLife
from tierline_gateway.front.api_errors import ApiError
from tierline_gateway.front.generation import Generation
from tierline_gateway.streams.answer_text import AnswerText
from tierline_gateway.streams.delivery import DeliveryTimes
from tierline_gateway.streams.journal import Journal


@dataclass(frozen=True, slots=True)
class Move:
    """A stream left a worker: why, from where, to where (empty while it waits), after how many tokens."""

    cause: str
    source: str
    target: str
    at_emitted: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Text and ids that became visible together."""

    text: str
    token_ids: tuple[int, ...]


@dataclass(slots=True)
class LiveRequest:
    """A request in the gateway's care. Times are gateway clock ms.

    `worker` is where it runs, None while it waits; `last_worker` is where it ran last. `prefix_keys` name the chunks of
    its prompt, by which a worker that computed a beginning of it before is found.
    """

    generation: Generation
    tenant: TenantPolicy
    tier: TierPolicy
    journal: Journal
    life: RequestLife
    text: AnswerText
    arrival_ms: float
    prefix_keys: tuple[bytes, ...] = ()
    delivery: DeliveryTimes = field(default_factory=DeliveryTimes)
    worker: str | None = None
    last_worker: str = ""
    avoid: set[str] = field(default_factory=set)
    moves: list[Move] = field(default_factory=list)
    error: ApiError | None = None
    _pieces: list[Piece] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def begin(
        cls,
        *,
        request_id: str,
        generation: Generation,
        tenant: TenantPolicy,
        tier: TierPolicy,
        decode: Callable[[Sequence[int]], str],
        now_ms: float,
    ) -> "LiveRequest":
        """Return a request that just arrived."""
        return cls(
            generation=generation,
            tenant=tenant,
            tier=tier,
            journal=Journal(request_id, generation.prompt_ids, generation.sampling),
            life=RequestLife(request_id),
            text=AnswerText(decode, generation.stop),
            arrival_ms=now_ms,
            prefix_keys=chunk_keys(generation.prompt_ids, tenant.cache_namespace),
        )

    @property
    def request_id(self) -> str:
        return self.life.request_id

    def add_tokens(self, token_ids: Sequence[int]) -> None:
        """Take new ids up to a stop string, which ends the answer."""
        for token_id in token_ids:
            self._pieces.append(Piece(self.text.feed(token_id), (token_id,)))
            if self.text.stopped:
                break
        self._changed.set()

    def finish(self, reason: FinishReason, error: ApiError | None = None) -> None:
        """End the request; the client gets what is left of the text, then the end or the error."""
        rest = self.text.finish() if error is None else ""
        if rest:
            self._pieces.append(Piece(rest, ()))
        # A stop string can hide in the last held-back bytes, after the worker had ended by length.
        self.life.finish(FinishReason.STOP if self.text.stopped and error is None else reason)
        self.error = error
        self._changed.set()

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield what became visible, joined when the client is slower than the worker; raises the request's error."""
        while self._pieces or not self.life.done:
            if self._pieces:
                yield self._joined()
            else:
                self._changed.clear()
                await self._changed.wait()
        if self.error is not None:
            raise self.error

    def _joined(self) -> Piece:
        pieces, self._pieces = self._pieces, []
        ids = tuple(token_id for piece in pieces for token_id in piece.token_ids)
        return Piece("".join(piece.text for piece in pieces), ids)
