"""Requests, a gateway's desk and several workers on one virtual clock.

Events are arrivals, ends of iterations, the gateway's regular look at its queue, and faults: the streams of a lost
worker go on elsewhere from the journal as the gateway does it, and a silent one is heard of late. Nothing is drawn at
random here, so a workload gives the same run each time.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from enum import IntEnum
from typing import NamedTuple

from msgspec.structs import replace

from tierline.api.policy import TenantPolicy, TierPolicy
from tierline.scheduling.admission.controller import Decision
from tierline.scheduling.admission.quota import QuotaLimits, TenantUsage
from tierline.scheduling.desk import Arriving, RequestDesk
from tierline.scheduling.entering import lower_tier, queued_request
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.routing.choice import WorkerView, choose_worker, fastest_alone_ms
from tierline.sim.clock import VirtualClock
from tierline.sim.ladder import Policy
from tierline.sim.receiving import Receiving
from tierline.sim.requests import SimulatedRequest
from tierline.sim.setup import FleetRun, FleetSetup
from tierline.sim.worker import NewTokens, SimulatedWorker
from tierline.sim.workload import PlannedRequest
from tierline.telemetry.records import Outcome

TICK_MS = 100.0


class _Kind(IntEnum):
    LOSS = 0
    SILENCE = 1
    ITERATION = 2
    ARRIVAL = 3
    TICK = 4


class _Event(NamedTuple):
    """A plain tuple, as heaps compare thousands of them a second; `number` is unique."""

    at_ms: float
    kind: _Kind
    number: int
    worker: SimulatedWorker | None
    request: SimulatedRequest | None


class FleetSimulation:
    """One run of one policy; requests numbered in `refused` are refused when they come, whatever the policy says."""

    def __init__(
        self, setup: FleetSetup, policy: Policy, workload: Sequence[PlannedRequest], refused: Collection[int] = ()
    ) -> None:
        self._setup = setup
        self._policy = policy
        self._clock = VirtualClock()
        self._desk = RequestDesk(lambda request_id: self._by_id[request_id].context_tokens)
        self._workers = {
            worker.name: worker for worker in setup.new_workers(policy.limits(setup.limits), policy.planner)
        }
        self._usage = {name: TenantUsage(_limits_of(tenant)) for name, tenant in setup.tenants.items()}
        self._metered = {name for name, tenant in setup.tenants.items() if tenant.tokens_per_minute is not None}
        self._requests = [self._new_request(index, planned) for index, planned in enumerate(workload)]
        self._by_id = {request.request_id: request for request in self._requests}
        self._refused = frozenset(self._requests[index].request_id for index in refused)
        self._unfinished = len(self._requests)
        self._moved: dict[str, tuple[str, ...]] = {}
        self._receiving: dict[str, Receiving] = {}
        self._events: list[_Event] = []
        self._numbers = itertools.count()
        self._schedule_known()

    def run(self) -> FleetRun:
        """Run until every request has ended."""
        last_ms = 0.0
        while self._unfinished:
            event = heapq.heappop(self._events)
            self._clock.advance_to(event.at_ms)
            self._handle(event)
            if event.kind is not _Kind.TICK:
                last_ms = event.at_ms
            self._work()
        return FleetRun(tuple(self._requests), tuple(self._workers.values()), last_ms, self._moved)

    def _schedule_known(self) -> None:
        for request in self._requests:
            self._at(request.planned.at_ms, _Kind.ARRIVAL, request=request)
        for loss in self._setup.faults.losses:
            self._at(loss.at_ms, _Kind.LOSS, worker=self._workers[f"worker-{loss.worker}"])
        for silence in self._setup.faults.silences:
            for at_ms in (silence.from_ms, silence.until_ms):
                self._at(at_ms, _Kind.SILENCE, worker=self._workers[f"worker-{silence.worker}"])
        self._at(TICK_MS, _Kind.TICK)

    def _at(
        self,
        at_ms: float,
        kind: _Kind,
        worker: SimulatedWorker | None = None,
        request: SimulatedRequest | None = None,
    ) -> None:
        heapq.heappush(self._events, _Event(at_ms, kind, next(self._numbers), worker, request))

    def _handle(self, event: _Event) -> None:
        if event.kind is _Kind.ARRIVAL and event.request is not None:
            self._arrive(event.request)
        elif event.kind is _Kind.ITERATION and event.worker is not None:
            self._take_tokens(event.worker)
        elif event.kind is _Kind.SILENCE and event.worker is not None:
            self._fall_silent_or_speak(event.worker)
        elif event.kind is _Kind.LOSS and event.worker is not None:
            self._lose(event.worker)
        else:
            self._tick()

    def _new_request(self, index: int, planned: PlannedRequest) -> SimulatedRequest:
        tenant, tier = self._setup.tenants[planned.tenant], self._setup.tiers[planned.tier]
        return SimulatedRequest(f"r{index:06d}", planned, tenant, tier)

    def _arrive(self, request: SimulatedRequest) -> None:
        window = max((worker.window_tokens for worker in self._workers.values()), default=0)
        if request.total_tokens > window:
            self._end(request, Outcome.REJECTED, f"{request.total_tokens} tokens, the workers hold {window}")
            return
        if request.request_id in self._refused:
            self._end(request, Outcome.REJECTED, "refused in hindsight")
            return
        usage = self._usage[request.tenant.tenant]
        queued = self._queued(request)
        if self._policy.refuses:
            decision = self._decide(request, queued, usage)
            request.eta_ms = decision.eta_ms
            if not decision.accepted:
                self._end(request, Outcome.REJECTED, decision.reason)
                return
        usage.begin(request.ask, self._clock.now_ms)
        self._desk.enqueue(queued if queued.tier == request.tier.name else self._queued(request))

    def _decide(self, request: SimulatedRequest, queued: QueuedRequest, usage: TenantUsage) -> Decision:
        arriving = Arriving(
            request.ask,
            usage,
            tier=lambda: request.tier,
            queued=lambda: queued if queued.tier == request.tier.name else self._queued(request),
            lower=lambda: self._lower(request),
        )
        return self._desk.decide(arriving, self._views(), self._clock.now_ms)

    def _views(self) -> list[WorkerView]:
        now_ms = self._clock.now_ms
        return [worker.view(now_ms) for worker in self._workers.values()]

    def _lower(self, request: SimulatedRequest) -> TierPolicy | None:
        lower = lower_tier(request.tier, self._setup.tiers)
        request.tier = lower or request.tier
        return lower

    def _queued(self, request: SimulatedRequest) -> QueuedRequest:
        queued = queued_request(
            request.request_id,
            request.tier,
            request.tenant,
            context_tokens=request.context_tokens,
            total_tokens=request.total_tokens,
            arrival_ms=request.planned.at_ms,
            now_ms=self._clock.now_ms,
            resumed=bool(request.moves),
            lengths=self._desk.lengths,
            prefill_ms=fastest_alone_ms(self._views(), request.context_tokens),
        )
        return self._policy.queued(queued)

    def _work(self) -> None:
        """Dispatch what can go, then start every worker that is idle and has something to do."""
        now_ms = self._clock.now_ms
        for queued, worker in self._desk.dispatch(now_ms, self._place):
            self._start(queued, worker)
        for worker in self._workers.values():
            end_ms = worker.begin(now_ms) if worker.alive else None
            if end_ms is not None:
                self._at(end_ms, _Kind.ITERATION, worker=worker)

    def _place(self, queued: QueuedRequest) -> SimulatedWorker | None:
        need = self._desk.need(queued)
        chosen = choose_worker(self._views(), need if self._policy.refuses else replace(need, holds_back=False))
        return self._workers[chosen.name] if chosen else None

    def _start(self, queued: QueuedRequest, worker: SimulatedWorker) -> None:
        request = self._by_id[queued.request_id]
        engine_request = self._policy.engine_request(request.engine_request(), request.planned.at_ms)
        refused = worker.submit(engine_request, request.missing_tokens)
        if refused is None:
            request.placed(worker.name, self._clock.now_ms)
            if not queued.resumed:
                request.prepaid_tokens = int(queued.expected_output_tokens) + 1
            return
        self._desk.queue.refund(queued)
        self._desk.enqueue(queued)

    def _take_tokens(self, worker: SimulatedWorker) -> None:
        if worker.alive:
            worker.finish()
            self._hear(worker)

    def _fall_silent_or_speak(self, worker: SimulatedWorker) -> None:
        now_ms = self._clock.now_ms
        worker.silent_since_ms = now_ms if worker.silent_since_ms is None else None
        self._hear(worker)

    def _hear(self, worker: SimulatedWorker) -> None:
        for tokens in worker.tell():
            self._deliver(worker, tokens)
            for request_id in tokens.ended:
                request = self._by_id[request_id]
                request.left(self._clock.now_ms)
                self._conclude(request, Outcome.OK)

    def _deliver(self, worker: SimulatedWorker, tokens: NewTokens) -> None:
        now_ms = self._clock.now_ms
        receiving = self._receivers(worker, tokens)
        for request in receiving.take(now_ms):
            self._charge(request, request.prepaid_tokens)
        for tenant, count in receiving.unpaid.items():
            self._desk.queue.charge_output("", tenant, count, self._setup.tenants[tenant].weight)
        while receiving.beginning:
            self._desk.first_token(receiving.beginning.pop(0).request_id, now_ms)
        if self._metered:
            counts = Counter(request.planned.tenant for request in receiving.requests)
            for tenant in self._metered.intersection(counts):
                self._usage[tenant].generated(counts[tenant], now_ms)

    def _receivers(self, worker: SimulatedWorker, tokens: NewTokens) -> Receiving:
        """Return the requests that get the tokens; they are looked up anew only when others go on than last time."""
        receiving = self._receiving.get(worker.name)
        if receiving is None or tokens.request_ids is not receiving.request_ids:
            requests = [self._by_id[request_id] for request_id in tokens.request_ids]
            receiving = self._receiving[worker.name] = Receiving(tokens.request_ids, requests)
        return receiving

    def _charge(self, request: SimulatedRequest, tokens: int) -> None:
        """Charge tokens that were paid for in advance; only their sum matters, so it is done once."""
        self._desk.queue.charge_output(request.request_id, request.tenant.tenant, tokens, request.tenant.weight)

    def _lose(self, worker: SimulatedWorker) -> None:
        lost = worker.lose()
        self._moved[worker.name] = lost
        for request_id in lost:
            request = self._by_id[request_id]
            request.left(self._clock.now_ms)
            request.moves += 1
            self._desk.enqueue(self._queued(request))

    def _tick(self) -> None:
        now_ms = self._clock.now_ms
        alive = any(worker.alive for worker in self._workers.values())
        waiting = tuple(self._desk.queue.waiting()) if not alive and not self._policy.refuses else ()
        for queued in waiting or self._desk.queue.expired(now_ms):
            request = self._by_id[queued.request_id]
            decision = self._desk.overdue(queued, self._usage[request.tenant.tenant], alive, now_ms)
            self._desk.queue.remove(queued.request_id)
            outcome = Outcome.FAILED if request.token_ms else Outcome.REJECTED
            self._conclude(request, outcome, decision.reason)
        self._at(now_ms + TICK_MS, _Kind.TICK)

    def _conclude(self, request: SimulatedRequest, outcome: Outcome, detail: str = "") -> None:
        tenant, complete = request.tenant.tenant, outcome is Outcome.OK
        if 0 < len(request.token_ms) < request.prepaid_tokens:
            self._charge(request, len(request.token_ms))
        self._desk.ended(request.request_id, tenant, request.tier.name, len(request.token_ms), complete)
        self._usage[tenant].end(request.ask, self._clock.now_ms)
        self._end(request, outcome, detail)

    def _end(self, request: SimulatedRequest, outcome: Outcome, detail: str = "") -> None:
        request.end(outcome, self._clock.now_ms, detail)
        self._unfinished -= 1


def _limits_of(tenant: TenantPolicy) -> QuotaLimits:
    return QuotaLimits(
        tenant.tokens_per_minute,
        tenant.requests_per_minute,
        tenant.max_concurrent_requests,
        tenant.max_kv_cache_percent,
    )
