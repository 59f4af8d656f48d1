"""From a body to a request that the dispatcher can take, and to its whole answer; the same for all who bring bodies."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from tierline.api.names import HEADER_REQUEST_ID, HEADER_TIER
from tierline.api.policy import TenantPolicy
from tierline.api.token_prices import FREE
from tierline.text.token_bytes import TokenBytes
from tierline_gateway.front.answer_writer import AnswerWriter
from tierline_gateway.front.bodies import LONG_BODY_BYTES
from tierline_gateway.front.generation import Generation
from tierline_gateway.front.identity import served_as, tier_of
from tierline_gateway.front.openai_requests import ChatRequest, CompletionRequest, decode_request
from tierline_gateway.front.openai_responses import ResponseShape
from tierline_gateway.front.prompts import PromptReader
from tierline_gateway.front.structured_output import is_structured
from tierline_gateway.service import GatewayService
from tierline_gateway.streams.answer import Answer
from tierline_gateway.streams.live import LiveRequest


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of OpenAI's endpoints that generate: the body it takes, and how that becomes a prompt."""

    path: str
    body: Any
    read_prompt: Callable[[PromptReader, Any], Generation]
    chat: bool


CHAT: Final = Endpoint("/v1/chat/completions", ChatRequest, PromptReader.chat, chat=True)
COMPLETIONS: Final = Endpoint("/v1/completions", CompletionRequest, PromptReader.completion, chat=False)
ENDPOINTS: Final[Mapping[str, Endpoint]] = MappingProxyType({each.path: each for each in (CHAT, COMPLETIONS)})


class Intake:
    """Reads bodies for one gateway, and answers what it read."""

    def __init__(self, service: GatewayService) -> None:
        self.service = service

    async def read(
        self, endpoint: Endpoint, body: bytes, tenant: TenantPolicy, headers: Mapping[str, str], request_id: str
    ) -> LiveRequest:
        """Return the request in `body`, not yet admitted; the tier is that of `headers`. Raises `ApiError`."""
        arrival_ms = self.service.clock_ms()
        snapshot = self.service.snapshot()
        decoded = decode_request(endpoint.body, body)
        served = served_as(snapshot.policy, tenant, decoded.model, self.service.adapters)
        tier = tier_of(snapshot.policy, tenant, served.model, headers)
        # Long prompts take long to tokenise, grammars to check; both free the interpreter meanwhile.
        long = len(body) > LONG_BODY_BYTES or is_structured(decoded)
        fleet = self.service.fleets.of(served.model)
        reader, read = fleet.prompt_reader(served.model), endpoint.read_prompt
        generation = await asyncio.to_thread(read, reader, decoded) if long else read(reader, decoded)
        return LiveRequest.begin(
            request_id=self._unused_id(request_id),
            generation=generation,
            tenant=tenant,
            tier=tier,
            decode=reader.tokenizer.decode,
            text_of=reader.tokenizer.texts.of,
            now_ms=arrival_ms,
            adapter=served.adapter,
            fleet=fleet.name,
            price=served.model.prices.get(tenant.billing_tier, FREE),
        )

    @contextmanager
    def admitted(self, live: LiveRequest, endpoint: Endpoint) -> Iterator[AnswerWriter]:
        """Admit a request with all its choices and yield the writer of its answer; raises `ApiError`.

        Whatever still runs when the block is left is cancelled.
        """
        generation, fleet = live.generation, self.service.fleet_of(live)
        tokenizer = fleet.loaded_tokenizer
        created_s = int(time.time())
        shape = ResponseShape(
            live.request_id, generation, TokenBytes(tokenizer), created_s=created_s, chat=endpoint.chat
        )
        choices = [live]
        try:
            fleet.dispatcher.admit(live, self.service.degraded)
            # Only now it has its tier, which admission may lower.
            headers = {HEADER_REQUEST_ID: live.request_id, HEADER_TIER: live.tier.name}
            choices += (
                live.fork(choice, tokenizer.decode, tokenizer.texts.of) for choice in range(1, generation.choices)
            )
            if len(choices) > 1:
                fleet.dispatcher.join(live, tuple(choices[1:]))
            yield AnswerWriter(Answer(tuple(choices), live.news), shape, headers, self.service.delivered)
        except (ConnectionError, asyncio.CancelledError):
            for choice in choices:
                choice.client_left = True
            raise
        finally:
            # A listener knows the answer whose news it hears; what knows itself is not freed at once.
            live.news.listen(None)
            for choice in reversed(choices):
                self.service.conclude(choice, fleet)

    def _unused_id(self, request_id: str) -> str:
        """Keep a client's id unless it is in use: on the wire and in the log an id stands for one request."""
        if self.service.find(request_id) is None and request_id not in self.service.requests:
            return request_id
        return f"{request_id[:100]}-{secrets.token_hex(6)}"
