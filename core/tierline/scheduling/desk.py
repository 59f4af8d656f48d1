"""The decisions over one gateway's requests, from their arrival to their dispatch: admit, order, hand out.

The gateway drives it with links to real workers, the simulator with workers on virtual time, so that what was
simulated is what runs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from tierline.api.policy import TierPolicy
from tierline.scheduling.admission.controller import (
    AdmissionController,
    Decision,
    Outlook,
    ServiceRate,
    Verdict,
    quota_refusal,
)
from tierline.scheduling.admission.first_token import FirstTokenTimes
from tierline.scheduling.admission.forecast import forecast
from tierline.scheduling.admission.kv_share import KVShares
from tierline.scheduling.admission.lengths import OutputLengthPredictor
from tierline.scheduling.admission.predictions import Prediction, cold, judged_by, learned
from tierline.scheduling.admission.prompt_lengths import PromptLengths
from tierline.scheduling.admission.quota import Ask, TenantUsage
from tierline.scheduling.admission.sent_prompts import SentPrompt, SentPrompts
from tierline.scheduling.queueing.locality_order import Cached
from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.queueing.standing import Standing
from tierline.scheduling.queueing.waiting_time import Throughput, WorkAhead, predicted_wait_ms
from tierline.scheduling.routing.choice import NOTHING_CACHED, Need, WorkerView, common_obstacle, fastest_alone_ms
from tierline.scheduling.routing.reservations import Reservation, Reservations


class Named(Protocol):
    """A worker, whatever drives it."""

    @property
    def name(self) -> str: ...


W = TypeVar("W", bound=Named)


class Arriving(msgspec.Struct, frozen=True):
    """A new request as the desk judges it: what it asks for, and how it would wait now on the tier it has.

    `tier` is that tier; `lower` steps down to the one that takes what its own turns away, and says whether it could.
    """

    ask: Ask
    usage: TenantUsage
    tier: Callable[[], TierPolicy]
    queued: Callable[[], QueuedRequest]
    lower: Callable[[], TierPolicy | None]


class RequestDesk:
    """Queue, admission and dispatch of one gateway; pure state, time comes as an argument.

    `context_of` says how many tokens a running request has by now, `cached` how much of a waiting prompt's beginning
    some worker probably holds; `told` hears where each request stood when its turn came.
    """

    def __init__(
        self,
        context_of: Callable[[str], int],
        cached: Cached | None = None,
        told: Callable[[Standing], None] | None = None,
    ) -> None:
        self._told = told
        self.queue = QueueManager(cached=cached)
        self.rate = ServiceRate()
        self._throughput = Throughput()
        self.lengths = OutputLengthPredictor()
        self.first_tokens = FirstTokenTimes()
        self.prompts = PromptLengths()
        self.reservations = Reservations(context_of)
        self.kv_shares = KVShares(self.reservations)
        self._sent = SentPrompts()
        self._admission = AdmissionController(self.rate)

    def decide(self, arriving: Arriving, workers: Sequence[WorkerView], now_ms: float) -> Decision:
        """Decide on a new request; under overload by what its tier declares: refuse, defer, or a lower tier."""
        queued = arriving.queued()
        self.prompts.arrived(queued.tier, queued.missing_tokens)
        decision = self._decide(arriving, queued, workers, now_ms)
        while decision.verdict.saturation and arriving.lower() is not None:
            decision = self._decide(arriving, arriving.queued(), workers, now_ms)
        deferrable = decision.verdict.saturation or decision.verdict is Verdict.KV_QUOTA
        if deferrable and arriving.tier().overload == "Defer":
            return replace(decision, verdict=Verdict.DEFER)
        return decision

    def enqueue(self, queued: QueuedRequest) -> None:
        """Take a request that was admitted, or that comes back from a worker and reserves nothing there any more."""
        self.reservations.release(queued.request_id)
        self.queue.push(queued)

    def dispatch(self, now_ms: float, place: Callable[[QueuedRequest], W | None]) -> Iterator[tuple[QueuedRequest, W]]:
        """Yield requests to start now, each with its worker, while some request has one.

        `place` names the worker that can take a request; what the caller starts must show in its next answers.
        """
        while len(self.queue) and (best := self._next(now_ms, place)) is not None:
            queued, worker = best
            if self._told is not None:
                self._told(self.queue.standing(queued, now_ms))
            self.queue.take(queued)
            self.rate.served(now_ms, queued.priority)
            self._throughput.served(1.0, now_ms)
            self.reservations.make(queued.request_id, self._claim(queued, worker.name))
            sent = SentPrompt(worker.name, queued.priority, now_ms, queued.missing_tokens, queued.resumed)
            self._sent.sent(queued.request_id, sent)
            yield best
        if not len(self.queue):
            self.rate.drained()
            self._throughput.drained()

    def need(
        self,
        queued: QueuedRequest,
        adapter: str = "",
        near: Set[str] = frozenset(),
        cached_tokens: Mapping[str, int] = NOTHING_CACHED,
    ) -> Need:
        """Return what routing must know of a waiting request; moved streams are not held back for others."""
        held, end = float(queued.missing_tokens), queued.peak_tokens - queued.cached_tokens
        return Need(
            request_id=queued.request_id,
            context_tokens=queued.context_tokens,
            total_tokens=queued.total_tokens,
            expected_tokens=queued.context_tokens + queued.expected_output_tokens,
            tpot_budget_ms=queued.tpot_budget_ms,
            priority=queued.priority,
            adapter=adapter,
            cached_tokens=cached_tokens,
            near=near,
            peak_tokens=end,
            rivals_on=lambda name: self.reservations.rivals(name, queued.priority),
            peak_on=lambda name: self.reservations.peak_tokens(name, queued.priority, held, end),
            holds_back=not queued.resumed,
        )

    def first_token(self, request_id: str, now_ms: float) -> None:
        """Note that tokens of a request came; the first ones teach how long a prompt takes."""
        sent = self._sent.left(request_id)
        if sent is not None and not sent.resumed:
            self.first_tokens.learn(sent.priority, sent.tokens, now_ms - sent.at_ms)

    def ended(self, request_id: str, tenant: str, tier: str, output_tokens: int, complete: bool) -> None:
        """Settle a request that is over; a `complete` answer, stopped by itself or its limit, teaches its length."""
        self.queue.settle(request_id)
        self.reservations.release(request_id)
        self._sent.left(request_id)
        if complete:
            self.lengths.learn(tenant, tier, output_tokens)

    def overdue(self, queued: QueuedRequest, usage: TenantUsage, capacity_exists: bool, now_ms: float) -> Decision:
        """Return what to tell a request whose time in the queue is over."""
        breach = self.kv_shares.breach(queued, usage) if capacity_exists else None
        if breach is not None:
            return quota_refusal(breach)
        return self._admission.overdue(capacity_exists, now_ms - queued.arrival_ms, self.predicted_wait_ms(queued))

    def predicted_wait_ms(self, queued: QueuedRequest) -> float:
        """Return how long a request would wait behind what goes before it now, at the speed of the last minute.

        For waits of many requests; what is refused at arrival is judged by the present speed (`rate`).
        """
        ahead = WorkAhead(self.queue.ahead_of(queued).requests, 1.0)
        return predicted_wait_ms([ahead], self._throughput.per_ms)

    def _decide(
        self, arriving: Arriving, queued: QueuedRequest, workers: Sequence[WorkerView], now_ms: float
    ) -> Decision:
        self.kv_shares.observe(workers)
        outlook = self._outlook(queued, arriving.tier(), workers)
        decision = self._admission.decide(arriving.usage, arriving.ask, outlook, now_ms)
        breach = self.kv_shares.breach(queued, arriving.usage) if decision.accepted else None
        return decision if breach is None else quota_refusal(breach, outlook.grounds)

    def _outlook(self, queued: QueuedRequest, tier: TierPolicy, workers: Sequence[WorkerView]) -> Outlook:
        known = queued.cached_tokens
        cached = {worker.name: known for worker in workers} if known else NOTHING_CACHED
        need = self.need(queued, cached_tokens=cached)
        ahead, obstacle = self.queue.ahead_of(queued), common_obstacle(workers, need)
        long_tokens, is_cold = self.prompts.long(tier.name), cold(workers)
        alone_ms = fastest_alone_ms(workers, queued.missing_tokens, queued.context_tokens - queued.missing_tokens)
        there = self._sent.as_seen_by(queued.priority, workers)
        seen = None if is_cold else forecast(there, need, ahead, long_tokens)
        times = self.first_tokens.of(queued.priority)
        predictions = [
            learned(
                self.rate.predicted_wait_ms(ahead.requests + (obstacle is not None), queued.priority),
                times.predict_ms(queued.missing_tokens, alone_ms),
                times.predict_ms(long_tokens, fastest_alone_ms(workers, long_tokens)),
                seen.start_ms if seen else 0.0,
            )
        ]
        if seen is not None:
            predictions.append(Prediction(seen.start_ms, seen.own_ms, seen.long_own_ms))
        judged = judged_by(predictions, tier, alone_ms, is_cold=is_cold)
        counts = judged.prediction
        return Outlook(
            counts.wait_ms,
            judged.patience_ms,
            counts.first_token_ms,
            obstacle,
            ahead.requests,
            max(each.total_ms for each in predictions),
        )

    def _claim(self, queued: QueuedRequest, worker: str) -> Reservation:
        end = queued.peak_tokens - queued.cached_tokens
        return Reservation(
            worker,
            queued.tenant,
            queued.priority,
            queued.tpot_budget_ms,
            end,
            queued.context_tokens - queued.missing_tokens,
        )

    def _next(self, now_ms: float, place: Callable[[QueuedRequest], W | None]) -> tuple[QueuedRequest, W] | None:
        chosen: list[W] = []

        def fits(queued: QueuedRequest) -> bool:
            worker = place(queued)
            if worker is not None:
                chosen.append(worker)
            return worker is not None

        queued = self.queue.next(now_ms, fits, self.kv_shares.capped)
        return None if queued is None else (queued, chosen[-1])
