"""From what gateways and workers count to a fleet's load.

Both ways of reading (Prometheus, or each pod's own endpoint) yield the same samples. Counters are compared between two
looks, pod by pod; a pod that was restarted counts from zero. Arrivals are what ended plus how many more are inside:

    arrivals = (d ended + d queued + d running) / dt         by tier in proportion to what ended and waits

Percentiles come from histograms' buckets, linear within one. Workers whose latency model has seen fewer than
`WARM_SAMPLES` iterations are cold: they are left out where warm ones tell coefficients (a cold worker's are a guess).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

from tierline.fleet.scaling.capacity import RequestShape
from tierline.scheduling.latency import WARM_SAMPLES, Coefficients
from tierline.telemetry import gateway_metrics, worker_metrics
from tierline.telemetry.histograms import bucket_quantile

QUANTILE = 0.95

GATEWAY_SERIES = (
    f"{gateway_metrics.REQUESTS.name}_total",
    gateway_metrics.QUEUE_DEPTH.name,
    gateway_metrics.QUEUE_DUE.name,
    gateway_metrics.RUNNING.name,
    f"{gateway_metrics.BILLED_PROMPT.name}_total",
    f"{gateway_metrics.BILLED_OUTPUT.name}_total",
    f"{gateway_metrics.TTFT.name}_bucket",
    f"{gateway_metrics.TPOT.name}_bucket",
)
WORKER_SERIES = (
    worker_metrics.LATENCY_COEFFICIENT,
    f"{worker_metrics.LATENCY_SAMPLES}_total",
    worker_metrics.KV_CACHE_USAGE,
    worker_metrics.REQUESTS_RUNNING,
    worker_metrics.STARTED_WARM,
    worker_metrics.CACHED_WEIGHTS_BYTES,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of one pod at one look."""

    pod: str
    name: str
    labels: tuple[tuple[str, str], ...]
    value: float

    def label(self, name: str) -> str:
        return dict(self.labels).get(name, "")


@dataclass(frozen=True, slots=True)
class Reading:
    """All samples of a fleet's gateways and workers at `at_ms`; `source` is who told them."""

    at_ms: int
    samples: tuple[Sample, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class TierTraffic:
    """A tier's traffic between two looks; percentiles are in milliseconds, None where nothing was counted. `due_ms` is
    when the first of what waits is due, on the clock of the epoch, None where nothing is."""

    per_second: float = 0.0
    queued: float = 0.0
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    due_ms: float | None = None


@dataclass(frozen=True, slots=True)
class FleetTraffic:
    """A fleet's traffic between two looks, and its workers by pod: coefficients, KV in use, requests running."""

    tiers: Mapping[str, TierTraffic] = field(default_factory=dict)
    shape: RequestShape | None = None
    coefficients: Mapping[str, Coefficients] = field(default_factory=dict)
    warm: frozenset[str] = frozenset()
    kv_used: Mapping[str, float] = field(default_factory=dict)
    running: Mapping[str, float] = field(default_factory=dict)


def traffic_between(before: Reading | None, now: Reading) -> FleetTraffic:
    """Return what happened between two looks; with one look only what stands there now."""
    deltas = _Deltas(before, now)
    queued = _by_tier(sample for sample in now.samples if sample.name == gateway_metrics.QUEUE_DEPTH.name)
    ended = deltas.by_tier(f"{gateway_metrics.REQUESTS.name}_total")
    rates = _arrivals(deltas, ended, queued)
    ttft = deltas.quantiles(f"{gateway_metrics.TTFT.name}_bucket")
    tpot = deltas.quantiles(f"{gateway_metrics.TPOT.name}_bucket")
    due = _first_due(now)
    tiers = {
        tier: TierTraffic(rates.get(tier, 0.0), queued.get(tier, 0.0), ttft.get(tier), tpot.get(tier), due.get(tier))
        for tier in {*ended, *queued}
    }
    samples = _by_pod(now, f"{worker_metrics.LATENCY_SAMPLES}_total")
    return FleetTraffic(
        tiers,
        _shape(deltas),
        _coefficients(now),
        frozenset(pod for pod, seen in samples.items() if seen >= WARM_SAMPLES),
        _by_pod(now, worker_metrics.KV_CACHE_USAGE),
        _by_pod(now, worker_metrics.REQUESTS_RUNNING),
    )


def typical(coefficients: Iterable[Coefficients]) -> Coefficients | None:
    """Return the median of each coefficient over workers: one odd worker does not size a fleet."""
    told = list(coefficients)
    return Coefficients(*(median(values) for values in zip(*told, strict=True))) if told else None


class _Deltas:
    def __init__(self, before: Reading | None, now: Reading) -> None:
        self.seconds = max((now.at_ms - before.at_ms) / 1e3, 1e-3) if before else math.inf
        self._now = now
        self._before = {(it.pod, it.name, it.labels): it.value for it in before.samples} if before else {}
        self._pods_before = {it.pod for it in before.samples} if before else set()

    def of(self, name: str) -> Iterable[tuple[Sample, float]]:
        """Yield each counter of a name with how much it grew; a pod that is new counts from its start."""
        if math.isinf(self.seconds):
            return
        for sample in self._now.samples:
            if sample.name == name:
                former = self._before.get((sample.pod, name, sample.labels), 0.0)
                yield sample, sample.value - former if sample.value >= former else sample.value

    def by_tier(self, name: str) -> dict[str, float]:
        grown: dict[str, float] = defaultdict(float)
        for sample, growth in self.of(name):
            grown[sample.label("tier")] += growth
        return dict(grown)

    def total(self, name: str) -> float:
        return sum(growth for _, growth in self.of(name))

    def change(self, name: str) -> float:
        """Return how much the sum of a gauge changed."""
        now = sum(it.value for it in self._now.samples if it.name == name)
        return now - sum(value for (_, of, _), value in self._before.items() if of == name)

    def quantiles(self, name: str) -> dict[str, float]:
        """Return the percentile of a histogram by tier, in milliseconds."""
        buckets: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
        for sample, growth in self.of(name):
            buckets[sample.label("tier")][float(sample.label("le"))] += growth
        found = {tier: _quantile(sorted(counts.items())) for tier, counts in buckets.items()}
        return {tier: 1e3 * value for tier, value in found.items() if value is not None}


def _quantile(cumulative: list[tuple[float, float]]) -> float | None:
    """Return the quantile in the unit of the bounds, None for an empty histogram; the last bound stands for more."""
    found = bucket_quantile(cumulative, QUANTILE)
    finite = [bound for bound, _ in cumulative if not math.isinf(bound)]
    return (finite[-1] if finite else 0.0) if found == math.inf else found


def _arrivals(deltas: _Deltas, ended: Mapping[str, float], queued: Mapping[str, float]) -> dict[str, float]:
    if math.isinf(deltas.seconds):
        return {}
    inside = deltas.change(gateway_metrics.QUEUE_DEPTH.name) + deltas.change(gateway_metrics.RUNNING.name)
    total = max(sum(ended.values()) + inside, 0.0) / deltas.seconds
    weights = {tier: ended.get(tier, 0.0) + queued.get(tier, 0.0) for tier in {*ended, *queued}}
    weight = sum(weights.values())
    return {tier: total * (share / weight if weight else 1 / len(weights)) for tier, share in weights.items()}


def _shape(deltas: _Deltas) -> RequestShape | None:
    """Return the mean lengths of requests that got an answer: refused ones have none to count."""
    first_tokens = deltas.of(f"{gateway_metrics.TTFT.name}_bucket")
    answered = sum(growth for sample, growth in first_tokens if math.isinf(float(sample.label("le"))))
    prompt = deltas.total(f"{gateway_metrics.BILLED_PROMPT.name}_total")
    output = deltas.total(f"{gateway_metrics.BILLED_OUTPUT.name}_total")
    return RequestShape(prompt / answered, output / answered) if answered >= 1 and prompt and output else None


def _coefficients(now: Reading) -> dict[str, Coefficients]:
    told: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in now.samples:
        if sample.name == worker_metrics.LATENCY_COEFFICIENT:
            told[sample.pod][f"{sample.label('term')}_ms"] = sample.value
    required = Coefficients._fields[:5]
    return {
        pod: Coefficients(**{field: terms.get(field, 0.0) for field in Coefficients._fields})
        for pod, terms in told.items()
        if all(field in terms for field in required)
    }


def _by_pod(now: Reading, name: str) -> dict[str, float]:
    return {sample.pod: sample.value for sample in now.samples if sample.name == name}


def _first_due(now: Reading) -> dict[str, float]:
    """Return by tier when the first request that waits at any gateway is due."""
    found: dict[str, float] = {}
    for sample in now.samples:
        if sample.name == gateway_metrics.QUEUE_DUE.name:
            tier = sample.label("tier")
            found[tier] = min(found.get(tier, math.inf), 1e3 * sample.value)
    return found


def _by_tier(samples: Iterable[Sample]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for sample in samples:
        found[sample.label("tier")] += sample.value
    return dict(found)
