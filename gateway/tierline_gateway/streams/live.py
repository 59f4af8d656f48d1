"""One request from admission to its end: its journal, its state, and the text that waits for its client."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from tierline.api.policy import TenantPolicy, TierPolicy
from tierline.api.token_prices import FREE, TokenPrice
from tierline.scheduling.admission.quota import Ask
from tierline.scheduling.routing.locality import chunk_keys
from tierline.text.detokenizer import depends_on_its_place
from tierline.wire.frames import TokenLogprobs
from tierline.wire.states import FinishReason, RequestLife
from tierline_gateway.front.api_errors import ApiError
from tierline_gateway.front.generation import Generation
from tierline_gateway.streams.answer_text import AnswerText
from tierline_gateway.streams.decisions import Decisions
from tierline_gateway.streams.delivery import DeliveryTimes
from tierline_gateway.streams.journal import Journal
from tierline_gateway.streams.news import News
from tierline_gateway.workers.discovery import WorkerEndpoint


@dataclass(frozen=True, slots=True)
class Move:
    """A stream left a worker: why, from where, to where (empty while it waits), after how many tokens."""

    cause: str
    source: str
    target: str
    at_emitted: int


class Piece(msgspec.Struct, frozen=True):
    """Text and ids that became visible together, and for each id its log probabilities if they were asked for."""

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...] = ()


@dataclass(slots=True)
class LiveRequest:
    """A request in the gateway's care. Times are gateway clock ms.

    `visible_tokens` counts what its client was shown or is about to be.
    `worker` is where it runs, None while it waits; `last_worker` is where it ran last, and `last_pool` and
    `last_revision` what that one was made from. `prefix_keys` name the chunks of its prompt, by which a worker that
    computed a beginning of it before is found. `fork_of` is the id of the first choice of the same answer, empty for
    that one itself. `adapter` is the LoRA adapter that it is computed with, empty for the model alone; `fleet` is
    whose workers compute it. `answer_tokens` are those that are meant for the client; `client_left` says that it went
    away before its end.
    """

    generation: Generation
    tenant: TenantPolicy
    tier: TierPolicy
    journal: Journal
    life: RequestLife
    text: AnswerText
    arrival_ms: float
    prefix_keys: tuple[bytes, ...] = ()
    adapter: str = ""
    fleet: str = ""
    price: TokenPrice = FREE
    delivery: DeliveryTimes = field(default_factory=DeliveryTimes)
    decisions: Decisions = field(default_factory=Decisions)
    worker: str | None = None
    last_worker: str = ""
    last_pool: str = ""
    last_revision: str = ""
    avoid: set[str] = field(default_factory=set)
    moves: list[Move] = field(default_factory=list)
    error: ApiError | None = None
    fork_of: str = ""
    answer_tokens: int = 0
    client_left: bool = False
    news: News = field(default_factory=News)
    visible_tokens: int = 0
    _texts: list[str] = field(default_factory=list)
    _token_ids: list[int] = field(default_factory=list)
    _logprobs: list[TokenLogprobs] = field(default_factory=list)

    @classmethod
    def begin(
        cls,
        *,
        request_id: str,
        generation: Generation,
        tenant: TenantPolicy,
        tier: TierPolicy,
        decode: Callable[[Sequence[int]], str],
        text_of: Callable[[int], str | None] = depends_on_its_place,
        now_ms: float,
        adapter: str = "",
        fleet: str = "",
        price: TokenPrice = FREE,
    ) -> "LiveRequest":
        """Return a request that just arrived."""
        return cls(
            generation=generation,
            tenant=tenant,
            tier=tier,
            journal=Journal(request_id, generation.prompt_ids, generation.sampling),
            life=RequestLife(request_id),
            text=AnswerText(decode, generation.stop, generation.sampling.min_tokens, text_of),
            arrival_ms=now_ms,
            decisions=Decisions(tier.name),
            prefix_keys=chunk_keys(generation.prompt_ids, tenant.cache_namespace, adapter),
            adapter=adapter,
            fleet=fleet,
            price=price,
        )

    def fork(
        self,
        choice: int,
        decode: Callable[[Sequence[int]], str],
        text_of: Callable[[int], str | None] = depends_on_its_place,
    ) -> "LiveRequest":
        """Return another choice of the same answer, as if it were asked for with the seed plus `choice`."""
        request_id = f"{self.request_id}:{choice}"
        return LiveRequest(
            generation=self.generation,
            tenant=self.tenant,
            tier=self.tier,
            journal=Journal(request_id, self.generation.prompt_ids, self.generation.sampling_of(choice)),
            life=RequestLife(request_id),
            text=AnswerText(decode, self.generation.stop, self.generation.sampling.min_tokens, text_of),
            arrival_ms=self.arrival_ms,
            prefix_keys=self.prefix_keys,
            adapter=self.adapter,
            fleet=self.fleet,
            price=self.price,
            fork_of=self.request_id,
            news=self.news,
        )

    @property
    def request_id(self) -> str:
        return self.life.request_id

    @property
    def ask(self) -> Ask:
        """What the tenant's quota counts: the prompt, and the longest answer in every choice."""
        most_output_tokens = self.journal.sampling.max_tokens * self.generation.choices
        return Ask(len(self.journal.prompt_ids), most_output_tokens, self.price)

    @property
    def has_news(self) -> bool:
        """Whether the client has something to be told: pieces, or the end."""
        return bool(self._token_ids or self._texts) or self.life.done

    def placed_on(self, endpoint: WorkerEndpoint) -> None:
        """Note the worker that goes on with the request."""
        self.worker = self.last_worker = endpoint.name
        self.last_pool, self.last_revision = endpoint.pool, endpoint.revision

    def add_tokens(self, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs] = ()) -> None:
        """Take new ids up to a stop string, which ends the answer; `logprobs` has an entry for each, or none."""
        waiting = len(self._token_ids)
        for at, token_id in enumerate(token_ids):
            self._texts.append(self.text.feed(token_id))
            self._token_ids.append(token_id)
            if logprobs:
                self._logprobs += logprobs[at : at + 1]
            if self.text.stopped:
                break
        taken = len(self._token_ids) - waiting
        self.visible_tokens += taken
        self.answer_tokens += taken
        self.news.tell()

    def finish(self, reason: FinishReason, error: ApiError | None = None) -> None:
        """End the request; the client gets what is left of the text, then the end or the error."""
        rest = self.text.finish() if error is None else ""
        if rest:
            self._texts.append(rest)
        # A stop string can hide in the last held-back bytes, after the worker had ended by length.
        self.life.finish(FinishReason.STOP if self.text.stopped and error is None else reason)
        self.error = error
        self.news.tell()

    def take_visible(self) -> Piece | None:
        """Return what became visible since the last call as one piece, None when nothing did."""
        if not (self._token_ids or self._texts):
            return None
        piece = Piece("".join(self._texts), tuple(self._token_ids), tuple(self._logprobs))
        self._texts, self._token_ids, self._logprobs = [], [], []
        return piece
