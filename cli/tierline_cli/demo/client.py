"""A tenant's client: the OpenAI SDK as it is, streaming, and what it saw of one request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import openai
from openai import AsyncOpenAI
from openai.types import CompletionUsage

from tierline.api.names import HEADER_REASON, HEADER_REQUEST_ID, HEADER_TIER
from tierline.sim.workload import PlannedRequest
from tierline.telemetry.records import Outcome
from tierline_cli.demo.clock import RunClock

REQUEST_SECONDS = 120.0


@dataclass(slots=True)
class Observation:
    """One request as its client saw it: ids as they came, and when. `prompt` lets it be repeated."""

    planned: PlannedRequest
    prompt: str
    sent_ms: float
    request_id: str = ""
    token_ids: list[int] = field(default_factory=list)
    token_times_ms: list[float] = field(default_factory=list)
    text: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    outcome: Outcome = Outcome.FAILED
    detail: str = ""
    ended_ms: float | None = None

    def add_tokens(self, token_ids: list[int], at_ms: float) -> None:
        self.token_ids.extend(token_ids)
        self.token_times_ms.extend([at_ms] * len(token_ids))

    def add_usage(self, usage: CompletionUsage) -> None:
        self.prompt_tokens = usage.prompt_tokens
        self.completion_tokens = usage.completion_tokens


class TenantClients:
    """One unmodified OpenAI client per tenant, without retries: what fails is to be seen."""

    def __init__(self, base_url: str, model: str, api_keys: Mapping[str, str], clock: RunClock) -> None:
        self._model = model
        self._clock = clock
        self._clients = {
            tenant: AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=REQUEST_SECONDS)
            for tenant, key in api_keys.items()
        }

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    async def send(self, planned: PlannedRequest, prompt: str) -> Observation:
        """Stream one greedy answer of exactly `planned.output_tokens` tokens; errors end up in the observation."""
        seen = Observation(planned, prompt, self._clock.now_ms())
        try:
            await self._stream(seen)
        except openai.APIStatusError as error:
            seen.outcome = Outcome.REJECTED if error.status_code == 429 else Outcome.FAILED
            seen.request_id = error.response.headers.get(HEADER_REQUEST_ID, "")
            seen.detail = f"{error.status_code} {error.response.headers.get(HEADER_REASON, '')}: {error.message}"
        except openai.APIError as error:
            seen.detail = f"{type(error).__name__}: {error}"
        seen.ended_ms = self._clock.now_ms()
        return seen

    async def _stream(self, seen: Observation) -> None:
        stream = await self._clients[seen.planned.tenant].chat.completions.create(
            model=self._model,
            messages=[{"role": "user", "content": seen.prompt}],
            max_tokens=seen.planned.output_tokens,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
            extra_headers={HEADER_TIER: seen.planned.tier},
            extra_body={"ignore_eos": True, "return_token_ids": True},
        )
        seen.request_id = stream.response.headers.get(HEADER_REQUEST_ID, "")
        finished = ""
        async for chunk in stream:
            if chunk.usage is not None:
                seen.add_usage(chunk.usage)
            for choice in chunk.choices:
                seen.add_tokens(_token_ids(choice), self._clock.now_ms())
                seen.text += choice.delta.content or ""
                finished = choice.finish_reason or finished
        seen.outcome = Outcome.OK if finished else Outcome.FAILED
        seen.detail = "" if finished else "the stream ended without a finish reason"


def _token_ids(choice: Any) -> list[int]:
    """Return the ids of a chunk; they are an extension, so the SDK keeps them as an extra field."""
    ids: list[int] = (choice.model_extra or {}).get("token_ids") or []
    return ids
