"""The gateway's Prometheus instruments, in a registry of their own."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tierline.scheduling.admission.controller import Decision
from tierline.telemetry import gateway_metrics as names
from tierline.telemetry.gateway_metrics import MetricName
from tierline.telemetry.prompt_lengths import prompt_bucket
from tierline.wire.states import FinishReason
from tierline_gateway.streams.live import LiveRequest

_SHORTEST_ETA_S = 0.1
"""Below that an error is not the forecast's but the clocks'."""
_COMPLETE = frozenset({FinishReason.STOP, FinishReason.LENGTH})


class _Series(dict[tuple[str, ...], Any]):
    """The series of one metric by their labels: what every request counts in is looked up once."""

    def __init__(self, metric: Counter | Histogram) -> None:
        self._metric = metric

    def __missing__(self, labels: tuple[str, ...]) -> Any:
        self[labels] = series = self._metric.labels(*labels)
        return series


class Instruments:
    """What is counted and observed. Tenants beyond the cap share one label, so that series stay few."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._tenants: set[str] = set()
        self.ttft = self._histogram(names.TTFT, names.SECONDS_BUCKETS)
        self.tpot = self._histogram(names.TPOT, names.TOKEN_SECONDS_BUCKETS)
        self.requests = self._counter(names.REQUESTS)
        self.revision_requests = self._counter(names.REVISION_REQUESTS)
        self.missed = self._counter(names.MISSED)
        self.lost = self._counter(names.LOST)
        self.duplicated = self._counter(names.DUPLICATED)
        self.decisions = self._counter(names.DECISIONS)
        self.eta_error = self._histogram(names.ETA_ERROR, names.RELATIVE_ERROR_BUCKETS)
        self.moves = self._counter(names.MOVES)
        self.recomputed = self._counter(names.RECOMPUTED)
        self.dropped = self._counter(names.DROPPED)
        self.billed_prompt = self._counter(names.BILLED_PROMPT)
        self.billed_output = self._counter(names.BILLED_OUTPUT)
        self.queue = self._gauge(names.QUEUE_DEPTH)
        self.queue_due = self._gauge(names.QUEUE_DUE)
        self.running = self._gauge(names.RUNNING)
        self.workers = self._gauge(names.WORKERS)
        self.service = self._gauge(names.SERVICE)
        self.sharing = self._gauge(names.SHARING)
        self._ttft, self._tpot = _Series(self.ttft), _Series(self.tpot)
        self._requests, self._decisions = _Series(self.requests), _Series(self.decisions)
        self._of_revision = _Series(self.revision_requests)
        self._billed_prompt, self._billed_output = _Series(self.billed_prompt), _Series(self.billed_output)

    def tenant_label(self, tenant: str) -> str:
        """Return the tenant's own label, or the shared one when too many tenants have theirs."""
        if tenant in self._tenants or len(self._tenants) < names.MAX_TENANT_LABELS:
            self._tenants.add(tenant)
            return tenant
        return names.OTHER_TENANTS

    def decided(self, live: LiveRequest, decision: Decision) -> None:
        """Record what became of an arriving request at the tier that it has after the decision."""
        bucket = prompt_bucket(len(live.journal.prompt_ids))
        self._decisions[live.tier.name, str(decision.verdict), bucket].inc()

    def eta_kept(self, eta_s: float, actual_s: float) -> None:
        """Record how well a predicted end was met."""
        self.eta_error.observe(abs(actual_s - eta_s) / max(eta_s, _SHORTEST_ETA_S))

    def ended(self, live: LiveRequest, outcome: str) -> None:
        """Record a request's end; further choices of its answer add tokens and times, no request."""
        tenant = self.tenant_label(live.tenant.tenant)
        if not live.fork_of:
            self._requests[live.tier.name, tenant, outcome].inc()
        if live.life.finish_reason is FinishReason.FAILED:
            self.failed_by_worker(live)
        elif live.life.finish_reason in _COMPLETE:
            kept = kept_targets(live)
            self._count_for_revision(live, names.OUTCOME_MET if kept else names.OUTCOME_MISSED)
            if not kept and not live.fork_of:
                self.missed.labels(live.tier.name, tenant).inc()
        self._count_loss(live, tenant)
        if live.journal.recomputed_tokens:
            self.recomputed.inc(live.journal.recomputed_tokens)
        if live.journal.duplicates_dropped:
            self.dropped.inc(live.journal.duplicates_dropped)
        if live.delivery.tokens:
            billed = (tenant, names.OTHER_TENANTS if tenant == names.OTHER_TENANTS else live.tenant.billing_tier)
            self._ttft[live.tier.name, tenant].observe((live.delivery.first_ms - live.arrival_ms) / 1000)
            if not live.fork_of:
                self._billed_prompt[billed].inc(len(live.journal.prompt_ids))
            self._billed_output[billed].inc(live.delivery.tokens)
        tpot_ms = live.delivery.tpot_ms()
        if tpot_ms is not None:
            self._tpot[live.tier.name, tenant].observe(tpot_ms / 1000)

    def failed_by_worker(self, live: LiveRequest) -> None:
        """Record that a worker failed a request or vanished under it, whether or not another one goes on with it."""
        self._count_for_revision(live, names.OUTCOME_FAILED)

    def _count_for_revision(self, live: LiveRequest, outcome: str) -> None:
        if live.last_revision:
            self._of_revision[live.tier.name, live.last_pool, live.last_revision, outcome].inc()

    def _count_loss(self, live: LiveRequest, tenant: str) -> None:
        """Compare what was generated with what arrived; who went away by himself has lost nothing."""
        if live.client_left or live.life.finish_reason is FinishReason.CANCELLED:
            return
        of_use = 0 if live.life.finish_reason is FinishReason.FAILED else live.delivery.tokens
        lost, twice = live.answer_tokens - of_use, live.delivery.tokens - live.answer_tokens
        if lost > 0:
            self.lost.labels(live.tier.name, tenant).inc(lost)
        if twice > 0:
            self.duplicated.labels(live.tier.name, tenant).inc(twice)

    def _counter(self, metric: MetricName) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self.registry)

    def _gauge(self, metric: MetricName) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self.registry)

    def _histogram(self, metric: MetricName, buckets: Iterable[float]) -> Histogram:
        return Histogram(metric.name, metric.help, metric.labels, registry=self.registry, buckets=tuple(buckets))


def kept_targets(live: LiveRequest) -> bool:
    """Say whether a complete answer kept its tier's TTFT, time per token and deadline."""
    delivery, tier = live.delivery, live.tier
    if not delivery.tokens:
        return True
    times = (
        (delivery.first_ms - live.arrival_ms, tier.ttft_deadline_ms),
        (delivery.tpot_ms(), tier.tpot_budget_ms),
        (delivery.last_ms - live.arrival_ms, tier.deadline_ms),
    )
    return all(took is None or limit is None or took <= limit for took, limit in times)
