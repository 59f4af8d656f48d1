"""The decisions over one gateway's requests, from their arrival to their dispatch: admit, order, hand out.

The gateway drives it with links to real workers, the simulator with workers on virtual time, so that what was
simulated is what runs.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from tierline.api.policy import TenantPolicy, TierPolicy
from tierline.scheduling.admission import AdmissionController, Decision, Grounds, ServiceRate, Verdict
from tierline.scheduling.first_token import FirstTokenTime, patience_ms
from tierline.scheduling.lengths import OutputLengthPredictor
from tierline.scheduling.locality_order import Cached
from tierline.scheduling.queued import DEFAULT_SERVICE_DIFFERENCE_TOKENS, UNLIMITED_DIFFERENCE_TOKENS, QueuedRequest
from tierline.scheduling.queueing import QueueManager
from tierline.scheduling.quota import TenantUsage
from tierline.scheduling.standing import Standing
from tierline.scheduling.waiting_time import Throughput, WorkAhead, predicted_wait_ms

RESUME_PATIENCE_MS = 300_000.0
"""So long a stream that lost its worker waits for another one: its client already has a part of the answer."""

W = TypeVar("W")


class RequestDesk:
    """Queue, admission and dispatch of one gateway; pure state, time comes as an argument.

    `cached` tells how much of a waiting prompt's beginning some worker probably holds; `told` hears where each request
    stood when its turn came.
    """

    def __init__(self, cached: Cached | None = None, told: Callable[[Standing], None] | None = None) -> None:
        self._told = told
        self.queue = QueueManager(cached=cached)
        self.rate = ServiceRate()
        self._throughput = Throughput()
        self.lengths = OutputLengthPredictor()
        self.first_tokens = FirstTokenTime()
        self._dispatched_ms: dict[str, float] = {}
        self._admission = AdmissionController(self.rate)

    def decide(
        self,
        usage: TenantUsage,
        tier: TierPolicy,
        queued: Callable[[], QueuedRequest],
        lower: Callable[[], TierPolicy | None],
        *,
        now_ms: float,
        alone_ms: float,
    ) -> Decision:
        """Decide on a new request, `queued` being how it would wait now.

        `lower` steps down to the tier that the request's tier names for overload, and returns that if there is one.
        `alone_ms` is what its prompt takes on an idle worker.
        """
        decision = self._decide(usage, tier, queued(), now_ms, alone_ms)
        while decision.verdict is Verdict.SATURATED and (lowered := lower()) is not None:
            tier = lowered
            decision = self._decide(usage, tier, queued(), now_ms, alone_ms)
        if decision.verdict is Verdict.SATURATED and tier.overload == "Defer":
            return replace(decision, verdict=Verdict.ACCEPT)
        return decision

    def dispatch(self, now_ms: float, place: Callable[[QueuedRequest], W | None]) -> Iterator[tuple[QueuedRequest, W]]:
        """Yield requests to start now, each with its worker, while some request has one.

        `place` names the worker that can take a request; what the caller starts must show in its next answers.
        """
        while (best := self._next(now_ms, place)) is not None:
            if self._told is not None:
                self._told(self.queue.standing(best[0], now_ms))
            self.queue.take(best[0])
            self.rate.served(now_ms, best[0].priority)
            self._throughput.served(1.0, now_ms)
            if not best[0].resumed:
                self._dispatched_ms[best[0].request_id] = now_ms
            yield best
        if not len(self.queue):
            self.rate.drained()
            self._throughput.drained()

    def first_token(self, request_id: str, prompt_tokens: int, now_ms: float) -> None:
        """Note that tokens of a request came; the first ones teach how long a prompt takes."""
        dispatched_ms = self._dispatched_ms.pop(request_id, None)
        if dispatched_ms is not None:
            self.first_tokens.learn(prompt_tokens, now_ms - dispatched_ms)

    def ended(self, request_id: str, tenant: str, tier: str, output_tokens: int, complete: bool) -> None:
        """Settle a request that is over; a `complete` answer, stopped by itself or its limit, teaches its length."""
        self.queue.settle(request_id)
        self._dispatched_ms.pop(request_id, None)
        if complete:
            self.lengths.learn(tenant, tier, output_tokens)

    def overdue(self, queued: QueuedRequest, capacity_exists: bool, now_ms: float) -> Decision:
        """Return what to tell a request whose time in the queue is over."""
        return self._admission.overdue(capacity_exists, now_ms - queued.arrival_ms, self.predicted_wait_ms(queued))

    def predicted_wait_ms(self, queued: QueuedRequest) -> float:
        """Return how long a request would wait behind what goes before it now, at the speed of the last minute.

        For waits of many requests; what is refused at arrival is judged by the present speed (`rate`).
        """
        ahead = WorkAhead(self.queue.ahead_of(queued), 1.0)
        return predicted_wait_ms([ahead], self._throughput.per_ms)

    def _decide(
        self, usage: TenantUsage, tier: TierPolicy, queued: QueuedRequest, now_ms: float, alone_ms: float
    ) -> Decision:
        ahead = self.queue.ahead_of(queued)
        first_ms = self.first_tokens.predict_ms(queued.context_tokens, alone_ms)
        patience = patience_ms(tier.ttft_deadline_ms, tier.max_queue_ms, first_ms, alone_ms)
        tokens, priority = queued.context_tokens, queued.priority
        decision = self._admission.decide(usage, tokens, ahead, patience, now_ms, priority=priority)
        wait_ms = self.rate.predicted_wait_ms(ahead, priority)
        return replace(decision, grounds=Grounds(ahead, wait_ms, patience, first_ms))

    def _next(self, now_ms: float, place: Callable[[QueuedRequest], W | None]) -> tuple[QueuedRequest, W] | None:
        chosen: list[W] = []

        def fits(queued: QueuedRequest) -> bool:
            worker = place(queued)
            if worker is not None:
                chosen.append(worker)
            return worker is not None

        queued = self.queue.next(now_ms, fits)
        return None if queued is None else (queued, chosen[-1])


def queued_request(
    request_id: str,
    tier: TierPolicy,
    tenant: TenantPolicy,
    *,
    context_tokens: int,
    total_tokens: int,
    arrival_ms: float,
    now_ms: float,
    resumed: bool,
    shares_prompt: bool = False,
    user_priority: int = 0,
    lengths: OutputLengthPredictor,
    prefill_ms: float,
) -> QueuedRequest:
    """Return how a request waits; a stream that lost its worker is `resumed` and waits as long as it must.

    `prefill_ms` is what its prompt takes on an idle worker.
    """
    bound = tenant.max_service_difference_tokens or DEFAULT_SERVICE_DIFFERENCE_TOKENS
    by_service = tier.order == "Service"
    return QueuedRequest(
        request_id=request_id,
        tenant=tenant.tenant,
        tier=tier.name,
        priority=tier.priority,
        context_tokens=context_tokens,
        total_tokens=total_tokens,
        arrival_ms=arrival_ms,
        deadline_ms=arrival_ms + tier.ttft_deadline_ms,
        expires_ms=now_ms + RESUME_PATIENCE_MS if resumed else arrival_ms + tier.max_queue_ms,
        expected_output_tokens=lengths.expected(tenant.tenant, tier.name, max(total_tokens - context_tokens, 1)),
        weight=tenant.weight,
        service_difference_tokens=bound if by_service else UNLIMITED_DIFFERENCE_TOKENS,
        resumed=resumed,
        shares_prompt=shares_prompt,
        user_priority=user_priority,
        quantum_tokens=tier.quantum_tokens if by_service and tier.locality == "Prefer" else 0,
        prefill_ms=prefill_ms,
    )


def lower_tier(tier: TierPolicy, tiers: Mapping[str, TierPolicy]) -> TierPolicy | None:
    """Return the tier that takes what `tier` turns away under overload, None when it has none."""
    return tiers.get(tier.degrade_to) if tier.overload == "Degrade" and tier.degrade_to else None
