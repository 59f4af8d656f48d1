"""The worker's counters and distributions; the engine stamps them while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tierline.scheduling.latency import BatchFeatures
from tierline.scheduling.memory.transfers import Direction, StorageTier
from tierline.telemetry import worker_metrics as names
from tierline_worker.metrics.device import DeviceFacts
from tierline_worker.metrics.exposition import expose
from tierline_worker.metrics.readings import LoadSample, offload_readings
from tierline_worker.metrics.tallies import Distribution, Total
from tierline_worker.tiers.tiers import Moved

ABORTED: Final = "abort"
FAILED: Final = "error"
_REASONS: Final = ("stop", "length", ABORTED, FAILED)

Series = Mapping[tuple[str, ...], Total | Distribution]


@dataclass(frozen=True, slots=True)
class Timeline:
    """One request's life on the engine's clock, in seconds. `arrived` is when the gateway got it, `scheduled` when its
    first iteration here began; `replayed`: an earlier part of it ran elsewhere."""

    arrived: float
    scheduled: float
    first_token: float
    last_token: float
    replayed: bool


class WorkerMetrics:
    """Written by the engine's thread (`gateways_dropped` by the server's), read by `render` at a scrape."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._series: dict[str, dict[tuple[str, ...], Total | Distribution]] = {}
        self.prompt_tokens = self._total(names.PROMPT_TOKENS)
        self.generation_tokens = self._total(names.GENERATION_TOKENS)
        self.replayed_tokens = self._total(names.RECOMPUTED_TOKENS, "replay")
        self.failed = self._total(names.REQUESTS_FAILED)
        self.gateways_dropped = self._total(names.GATEWAYS_DROPPED)
        self.ttft_seconds = self._distribution(names.TTFT_SECONDS)
        self.inter_token_seconds = self._distribution(names.INTER_TOKEN_SECONDS)
        self._cancelled = self._total(names.REQUESTS_CANCELLED)
        self._busy_seconds = self._total(names.BUSY_SECONDS)
        self._iteration_seconds = self._distribution(names.ITERATION_SECONDS)
        self._iteration_tokens = self._distribution(names.ITERATION_TOKENS)
        self._batch_tokens = [self._distribution(names.BATCH_TOKENS, kind) for kind in names.BATCH_KINDS]
        self._success = {reason: self._total(names.REQUEST_SUCCESS, reason) for reason in _REASONS}
        self._shed_iterations = self._total(names.SHED_ITERATIONS)
        self._shed_requests = self._total(names.SHED_REQUESTS)
        self._request = {name: self._distribution(name) for name in _REQUEST_DISTRIBUTIONS}
        self._moved: Mapping[tuple[StorageTier, Direction], Moved] = {}
        self._gauges: dict[str, dict[tuple[str, ...], float]] = {}

    def iterated(self, tokens: int, features: BatchFeatures, elapsed_s: float) -> None:
        """Note an iteration: how many tokens, of what kinds, in what time of the device."""
        self._iteration_tokens.observe(tokens)
        self._iteration_seconds.observe(elapsed_s)
        self._busy_seconds.inc(elapsed_s)
        kinds = (
            features.prefill_tokens,
            features.decodes,
            features.verified_tokens,
            features.drafted_tokens,
            features.adapter_tokens,
        )
        for distribution, count in zip(self._batch_tokens, kinds, strict=True):
            distribution.observe(count)

    def finished(self, reason: str, prompt_tokens: int, output_tokens: int, life: Timeline) -> None:
        """Note a request that ended with a result."""
        self._success[reason].inc()
        decoding_s = life.last_token - life.first_token
        self._request[names.E2E_SECONDS].observe(life.last_token - life.arrived)
        self._request[names.PREFILL_SECONDS].observe(life.first_token - life.scheduled)
        self._request[names.DECODE_SECONDS].observe(decoding_s)
        self._request[names.INFERENCE_SECONDS].observe(life.last_token - life.scheduled)
        self._request[names.REQUEST_PROMPT_TOKENS].observe(prompt_tokens)
        self._request[names.REQUEST_GENERATION_TOKENS].observe(output_tokens)
        if not life.replayed:
            self._request[names.QUEUE_SECONDS].observe(life.scheduled - life.arrived)
            if output_tokens > 1:
                self._request[names.REQUEST_TOKEN_SECONDS].observe(decoding_s / (output_tokens - 1))

    def cancelled(self) -> None:
        """Note a request that nobody waits for any more."""
        self._cancelled.inc()
        self._success[ABORTED].inc()

    def errored(self) -> None:
        """Note a request that failed here."""
        self.failed.inc()
        self._success[FAILED].inc()

    def describe(self, device: DeviceFacts) -> None:
        """Tell what the engine runs on."""
        self._gauges |= device.readings()

    def started(self, warm: bool) -> None:
        """Tell whether the weights were on the node before."""
        self._gauges[names.STARTED_WARM] = {(): float(warm)}

    def cached(self, weights: Mapping[str, int]) -> None:
        """Tell which models the node has, and their bytes."""
        self._gauges[names.CACHED_WEIGHTS_BYTES] = {(source,): float(size) for source, size in weights.items()}

    def ran_out_of_memory(self, refused_requests: int) -> None:
        """Note an iteration that did not fit, and how many of its requests did not fit even alone."""
        self._shed_iterations.inc()
        self._shed_requests.inc(refused_requests)

    def refused(self, reason: str) -> None:
        self._total(names.REQUESTS_REFUSED, reason).inc()

    def watch_tiers(self, moved: Mapping[tuple[StorageTier, Direction], Moved]) -> None:
        """Publish these totals at each scrape; the tiers go on counting them."""
        self._moved = moved

    def render(self, sample: LoadSample) -> bytes:
        """Return the exposition text, with what `sample` says of this moment."""
        return expose(self._model, self._series, {**self._gauges, **offload_readings(self._moved)}, sample)

    def _total(self, name: str, *labels: str) -> Total:
        series = self._series.setdefault(name, {})
        total = series.get(labels)
        if total is None:
            total = series[labels] = Total()
        assert isinstance(total, Total)
        return total

    def _distribution(self, name: str, *labels: str) -> Distribution:
        distribution = Distribution(names.WORKER_METRICS[name].buckets)
        self._series.setdefault(name, {})[labels] = distribution
        return distribution


_REQUEST_DISTRIBUTIONS: Final = (
    names.E2E_SECONDS,
    names.QUEUE_SECONDS,
    names.PREFILL_SECONDS,
    names.DECODE_SECONDS,
    names.INFERENCE_SECONDS,
    names.REQUEST_PROMPT_TOKENS,
    names.REQUEST_GENERATION_TOKENS,
    names.REQUEST_TOKEN_SECONDS,
)
