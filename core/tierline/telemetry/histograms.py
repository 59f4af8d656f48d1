"""Quantiles of histograms as Prometheus keeps them: cumulative counts by upper bound, linear within a bucket.

The error is at most the width of a bucket. A quantile in the last, unbounded bucket is infinite: nothing more is known.
"""

import math
from collections.abc import Sequence


def bucket_quantile(cumulative: Sequence[tuple[float, float]], quantile: float) -> float | None:
    """Return a quantile, in the unit of the bounds; `cumulative` are (bound, count) by bound. None when it is empty."""
    total = cumulative[-1][1] if cumulative else 0.0
    if total <= 0:
        return None
    rank, low, below = quantile * total, 0.0, 0.0
    for bound, count in cumulative:
        if count >= rank:
            return bound if math.isinf(bound) else low + (bound - low) * (rank - below) / max(count - below, 1e-9)
        low, below = bound, count
    return low
