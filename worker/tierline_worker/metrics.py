"""The worker's Prometheus metrics, in a registry of its own."""

from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tierline.telemetry import worker_metrics as names
from tierline.wire.frames import Signals

_GAUGES: Final = {
    names.REQUESTS_RUNNING: "Requests in the running batch.",
    names.REQUESTS_WAITING: "Requests on this worker that wait for blocks or are parked.",
    names.KV_CACHE_USAGE: "Share of KV blocks in use, 0 to 1.",
    names.KV_BLOCKS_USED: "KV blocks in use.",
    names.KV_BLOCKS_TOTAL: "KV blocks of the arena.",
    names.KV_TOKENS: "Tokens whose KV is held.",
    names.GATEWAYS_CONNECTED: "Gateways connected.",
    names.DRAINING: "1 while the worker drains.",
    names.STALLED_SECONDS: "For how long work has given no result.",
}
_COUNTERS: Final = {
    names.PROMPT_TOKENS: "Prompt tokens of requests whose first token was sent.",
    names.GENERATION_TOKENS: "Tokens generated.",
    names.RECOMPUTED_TOKENS: "Tokens emitted elsewhere before and computed again here.",
    names.BUSY_SECONDS: "Time in which the device computed.",
    names.REQUESTS_CANCELLED: "Requests given up by their gateway or lost with it.",
    names.REQUESTS_FAILED: "Requests that failed by an error of this worker.",
    names.GATEWAYS_DROPPED: "Connections closed because the gateway read too slowly.",
}


@dataclass(frozen=True, slots=True)
class LoadSample:
    """What is true at the moment of a scrape."""

    signals: Signals
    kv_tokens: int
    gateways: int
    draining: bool
    stalled_s: float


class WorkerMetrics:
    """Counters and histograms are stamped by the engine, gauges filled at a scrape."""

    def __init__(self, model: str) -> None:
        self._registry = CollectorRegistry()
        self._model = model
        self._gauges = {name: self._gauge(name) for name in _GAUGES}
        self.prompt_tokens = self._counter(names.PROMPT_TOKENS)
        self.generation_tokens = self._counter(names.GENERATION_TOKENS)
        self.recomputed_tokens = self._counter(names.RECOMPUTED_TOKENS)
        self.busy_seconds = self._counter(names.BUSY_SECONDS)
        self.cancelled = self._counter(names.REQUESTS_CANCELLED)
        self.failed = self._counter(names.REQUESTS_FAILED)
        self.gateways_dropped = self._counter(names.GATEWAYS_DROPPED)
        self.ttft_seconds = self._histogram(names.TTFT_SECONDS, "Time from the gateway's receipt.", names.TTFT_BUCKETS)
        self.inter_token_seconds = self._histogram(
            names.INTER_TOKEN_SECONDS, "Time between tokens of one request.", names.INTER_TOKEN_BUCKETS
        )
        self.e2e_seconds = self._histogram(names.E2E_SECONDS, "Time from receipt to the last token.", names.E2E_BUCKETS)
        self.iteration_tokens = self._histogram(
            names.ITERATION_TOKENS, "Tokens computed in one iteration.", names.ITERATION_TOKEN_BUCKETS
        )
        self.iteration_seconds = self._histogram(
            names.ITERATION_SECONDS, "Duration of one iteration.", names.INTER_TOKEN_BUCKETS
        )
        self._success = Counter(
            names.REQUEST_SUCCESS, "Requests finished.", (names.LABEL_MODEL, "finished_reason"), registry=self._registry
        )
        self._refused = Counter(
            names.REQUESTS_REFUSED, "Submits not started.", (names.LABEL_MODEL, "reason"), registry=self._registry
        )

    def succeeded(self, reason: str) -> None:
        self._success.labels(self._model, reason).inc()

    def refused(self, reason: str) -> None:
        self._refused.labels(self._model, reason).inc()

    def render(self, sample: LoadSample) -> bytes:
        """Return the exposition text with the gauges of this moment."""
        signals = sample.signals
        values = {
            names.REQUESTS_RUNNING: signals.running_requests,
            names.REQUESTS_WAITING: signals.waiting_requests,
            names.KV_CACHE_USAGE: signals.used_blocks / max(signals.total_blocks, 1),
            names.KV_BLOCKS_USED: signals.used_blocks,
            names.KV_BLOCKS_TOTAL: signals.total_blocks,
            names.KV_TOKENS: sample.kv_tokens,
            names.GATEWAYS_CONNECTED: sample.gateways,
            names.DRAINING: int(sample.draining),
            names.STALLED_SECONDS: sample.stalled_s,
        }
        for name, value in values.items():
            self._gauges[name].set(value)
        return generate_latest(self._registry)

    def _gauge(self, name: str) -> Gauge:
        return Gauge(name, _GAUGES[name], (names.LABEL_MODEL,), registry=self._registry).labels(self._model)

    def _counter(self, name: str) -> Counter:
        return Counter(name, _COUNTERS[name], (names.LABEL_MODEL,), registry=self._registry).labels(self._model)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        family = Histogram(name, text, (names.LABEL_MODEL,), buckets=buckets, registry=self._registry)
        return family.labels(self._model)
