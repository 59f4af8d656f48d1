"""Collects what one iteration gives to whom, as token batches by gateway."""

from dataclasses import dataclass, field

from tierline.wire.frames import TokenBatch, TokenLogprobs
from tierline.wire.states import FinishReason
from tierline_worker.engine.requests import LiveRequest, Roster
from tierline_worker.metrics import WorkerMetrics
from tierline_worker.metrics.recorder import Timeline


@dataclass(slots=True)
class Delivery:
    """One iteration's results; ended requests leave the roster. `now_s` is when the tokens exist."""

    roster: Roster
    metrics: WorkerMetrics
    now_s: float
    batches: dict[int, list[TokenBatch]] = field(default_factory=dict)

    def tokens(
        self,
        request: LiveRequest,
        token_ids: tuple[int, ...],
        finish_reason: str,
        logprobs: tuple[TokenLogprobs, ...] = (),
    ) -> None:
        """Deliver a request's new tokens; a stop token is delivered too, as the last one."""
        position = request.emitted_tokens
        request.token_ids.extend(token_ids)
        self._measure(request, len(token_ids))
        batch = TokenBatch(request.request_id, request.epoch, position, token_ids, finish_reason, logprobs=logprobs)
        self._add(request, batch)
        if finish_reason:
            self.roster.remove([request])
            self._finish(request, finish_reason)

    def fail(self, request: LiveRequest, error: Exception) -> None:
        """End a request with an error that its user may read."""
        text = f"the worker failed on this request: {type(error).__name__}: {error}"[:500]
        ended = TokenBatch(request.request_id, request.epoch, request.emitted_tokens, (), FinishReason.FAILED, text)
        self._add(request, ended)
        self.roster.remove([request])
        self.metrics.errored()

    def _add(self, request: LiveRequest, batch: TokenBatch) -> None:
        self.batches.setdefault(request.gateway, []).append(batch)

    def _finish(self, request: LiveRequest, reason: str) -> None:
        life = Timeline(
            arrived=request.arrived_at,
            scheduled=request.scheduled_at,
            first_token=request.first_token_at,
            last_token=self.now_s,
            replayed=request.replayed_tokens > 0,
        )
        self.metrics.finished(reason, request.prompt_tokens, request.emitted_tokens, life)

    def _measure(self, request: LiveRequest, tokens: int) -> None:
        self.metrics.generation_tokens.inc(tokens)
        if request.last_token_at is not None:
            self.metrics.inter_token_seconds.observe(self.now_s - request.last_token_at)
        else:
            self._measure_first(request)
        # Tokens of one iteration exist at one moment.
        for _ in range(tokens - 1):
            self.metrics.inter_token_seconds.observe(0.0)
        request.last_token_at = self.now_s

    def _measure_first(self, request: LiveRequest) -> None:
        request.first_token_at = self.now_s
        if request.replayed_tokens:
            self.metrics.replayed_tokens.inc(request.replayed_tokens)
        else:
            self.metrics.prompt_tokens.inc(request.prompt_tokens)
            self.metrics.ttft_seconds.observe(self.now_s - request.arrived_at)
