"""How full the workers were, from their samples; what they do not tell stays unknown."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tierline.telemetry.measured import Measured, Unknown
from tierline.telemetry.records import WorkerSample


@dataclass(frozen=True, slots=True)
class Resources:
    """Shares in [0, 1], means over the samples of workers that had something to do."""

    device_busy: Measured
    sm_occupancy: Measured
    kv_used: Measured
    kv_internal_fragmentation: Measured
    kv_external_fragmentation: Measured
    offload_bytes_per_second: Measured
    offload_utilization: Measured


def resources(samples: Sequence[WorkerSample]) -> Resources:
    """Summarise the samples."""
    no_offload = Unknown("no KV offload tier is configured")
    return Resources(
        device_busy=_mean((sample.busy_share for sample in _active(samples)), "no active worker reported a busy share"),
        sm_occupancy=Unknown("CPU workers have no streaming multiprocessors"),
        kv_used=_mean((sample.kv_used_share for sample in _active(samples)), "no active worker was sampled"),
        kv_internal_fragmentation=_mean(
            (sample.kv_internal_fragmentation for sample in _active(samples)),
            "workers do not report how full their blocks are",
        ),
        kv_external_fragmentation=Unknown("blocks are of one size, so any free block fits; not sampled"),
        offload_bytes_per_second=no_offload,
        offload_utilization=no_offload,
    )


def _active(samples: Sequence[WorkerSample]) -> list[WorkerSample]:
    return [sample for sample in samples if sample.running_requests]


def _mean(values: Iterable[float | None], otherwise: str) -> Measured:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else Unknown(otherwise)
