"""Percentiles that do not pretend: nearest rank, unserved requests count as infinitely late, no p99 of a handful."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tierline.telemetry.measured import Measured, Unknown

P99_MIN_SAMPLES = 100

NEVER_SERVED = "requests that were never served reach this percentile"


@dataclass(frozen=True, slots=True)
class Percentiles:
    """p50, p95 and p99 in milliseconds of `n` samples."""

    p50: Measured
    p95: Measured
    p99: Measured
    n: int


def nearest_rank(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest sample that `percent` of the ascending, non-empty `ordered` do not exceed."""
    rank = max(math.ceil(percent / 100 * len(ordered)), 1)
    return ordered[rank - 1]


def p99(samples: Sequence[float]) -> Measured:
    """Return the p99, unknown below 100 samples."""
    if len(samples) < P99_MIN_SAMPLES:
        return Unknown(f"{len(samples)} samples, a p99 needs {P99_MIN_SAMPLES}")
    return _finite(nearest_rank(sorted(samples), 99))


def percentiles(samples: Sequence[float]) -> Percentiles:
    """Summarise `samples`; an infinite one is a request that was never served."""
    if not samples:
        empty = Unknown("no samples")
        return Percentiles(empty, empty, empty, 0)
    ordered = sorted(samples)
    return Percentiles(
        _finite(nearest_rank(ordered, 50)), _finite(nearest_rank(ordered, 95)), p99(ordered), len(ordered)
    )


def _finite(value: float) -> Measured:
    return value if math.isfinite(value) else Unknown(NEVER_SERVED)
