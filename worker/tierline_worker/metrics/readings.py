"""What a scrape finds: the load of this moment and the scheduling core's totals, by metric and labels."""

from collections.abc import Mapping
from dataclasses import dataclass

from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.memory.transfers import Direction, StorageTier
from tierline.telemetry import worker_metrics as names
from tierline_worker.engine.snapshot import Snapshot
from tierline_worker.tiers.tiers import Moved

Readings = Mapping[str, Mapping[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class LoadSample:
    """What is true at the moment of a scrape; `now_s` is the time since the epoch."""

    load: Snapshot
    gateways: int = 0
    draining: bool = False
    stalled_s: float = 0.0
    now_s: float = 0.0


def readings(sample: LoadSample) -> Readings:
    """Return the value of every series that is not stamped while the engine runs."""
    plain = {**_load(sample), **_totals(sample.load.counters)}
    labelled: dict[str, Mapping[tuple[str, ...], float]] = {
        names.REQUESTS_WAITING_BY_REASON: _waiting(sample.load),
        names.PREEMPTIONS_BY_KIND: _preemptions(sample.load.counters),
        names.RECOMPUTED_TOKENS: {("preemption",): float(sample.load.counters.recomputed_tokens)},
        names.LATENCY_COEFFICIENT: _coefficients(sample.load.signals.latency_coefficients),
    }
    return {**{name: {(): float(value)} for name, value in plain.items()}, **labelled}


def offload_readings(moved: Mapping[tuple[StorageTier, Direction], Moved]) -> Readings:
    """Return what was copied between the arena and each tier, and how fast the newest copy was."""
    totals = {(str(tier), str(direction)): total for (tier, direction), total in moved.items()}
    return {
        names.OFFLOAD_BYTES: {labels: float(total.bytes) for labels, total in totals.items()},
        names.OFFLOAD_SECONDS: {labels: total.seconds for labels, total in totals.items()},
        names.OFFLOAD_FAILURES: {labels: float(total.failed) for labels, total in totals.items()},
        names.OFFLOAD_BYTES_PER_SECOND: {labels: total.bytes_per_second for labels, total in totals.items()},
    }


def _load(sample: LoadSample) -> dict[str, float]:
    load, signals = sample.load, sample.load.signals
    return {
        names.REQUESTS_RUNNING: signals.running_requests,
        names.REQUESTS_WAITING: signals.waiting_requests,
        names.REQUESTS_PARKED: load.parked_requests,
        names.KV_CACHE_USAGE: signals.used_blocks / max(signals.total_blocks, 1),
        names.KV_BLOCKS_USED: signals.used_blocks,
        names.KV_BLOCKS_TOTAL: signals.total_blocks,
        names.KV_TOKENS: load.kv_tokens,
        names.KV_FRAGMENTED_TOKENS: load.fragmented_tokens,
        names.SPECULATING: int(load.speculating),
        names.TOKEN_LIMIT: load.token_limit,
        names.KV_BLOCKS_CACHED: load.cached_blocks,
        names.KV_BLOCKS_ADAPTERS: load.adapter_blocks,
        names.BACKLOG_TOKENS: signals.backlog_tokens,
        names.LATENCY_RESIDUAL: signals.latency_residual_p95_ms,
        names.LATENCY_SAMPLES: signals.latency_samples,
        names.GATEWAYS_CONNECTED: sample.gateways,
        names.DRAINING: int(sample.draining),
        names.STALLED_SECONDS: sample.stalled_s,
    }


def _waiting(load: Snapshot) -> dict[tuple[str, ...], float]:
    """Tell who waits for blocks or a turn, and who for saved KV that is on its way."""
    waiting, deferred = load.signals.waiting_requests, load.loading_requests
    return {("capacity",): waiting - deferred, ("deferred",): deferred}


def _totals(counters: EngineCounters) -> dict[str, float]:
    totals: dict[str, float] = {
        names.PREFIX_QUERIES: counters.prefix_query_tokens,
        names.PREFIX_HITS: counters.prefix_hit_tokens,
        names.PREEMPTIONS: sum(_preemptions(counters).values()),
        names.SAVED_TOKENS: counters.saved_tokens,
        names.RESTORED_TOKENS: counters.restored_tokens,
        names.KV_EVICTED_BLOCKS: counters.evicted_blocks,
        names.KV_COPIED_BLOCKS: counters.copied_blocks,
        names.DRAFTS: counters.verified_rows,
        names.DRAFT_TOKENS: counters.drafted_tokens,
        names.ACCEPTED_TOKENS: counters.accepted_tokens,
        names.ADAPTER_LOADS: counters.adapter_loads,
        names.ADAPTER_EVICTIONS: counters.adapter_evictions,
    }
    if counters.drafted_tokens:
        totals[names.ACCEPTANCE_RATE] = counters.accepted_tokens / counters.drafted_tokens
    return totals


def _preemptions(counters: EngineCounters) -> dict[tuple[str, ...], float]:
    return {
        ("recompute",): counters.preemptions_recompute,
        ("host",): counters.preemptions_host,
        ("disk",): counters.preemptions_disk,
        ("partial",): counters.preemptions_partial,
    }


def _coefficients(values: tuple[float, ...]) -> dict[tuple[str, ...], float]:
    """Name the terms as the latency model's fields do, without their unit."""
    terms = zip(Coefficients._fields, values, strict=False)
    return {(field.removesuffix("_ms"),): value for field, value in terms}
