"""What gateways count of one tier's requests, and what was added between two looks.

A gateway that was restarted has forgotten: what is added never counts below nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import sub

from tierline.telemetry.gateway_metrics import SECONDS_BUCKETS, TOKEN_SECONDS_BUCKETS
from tierline.telemetry.histograms import bucket_quantile

Buckets = tuple[int, ...]
"""Cumulative counts of a histogram in the order of its bounds, the unbounded bucket last; empty for none."""


@dataclass(frozen=True, slots=True)
class TierCounts:
    """Requests of one tier that ended; `missed`, `failed` and `refused` are parts of them."""

    requests: int = 0
    missed: int = 0
    failed: int = 0
    refused: int = 0
    lost_tokens: int = 0
    duplicated_tokens: int = 0
    ttft: Buckets = ()
    tpot: Buckets = ()

    def since(self, base: "TierCounts") -> "TierCounts":
        """Return what was added."""
        return TierCounts(
            max(0, self.requests - base.requests),
            max(0, self.missed - base.missed),
            max(0, self.failed - base.failed),
            max(0, self.refused - base.refused),
            max(0, self.lost_tokens - base.lost_tokens),
            max(0, self.duplicated_tokens - base.duplicated_tokens),
            _added(self.ttft, base.ttft),
            _added(self.tpot, base.tpot),
        )

    @property
    def attainment_percent(self) -> float:
        bad = self.missed + self.failed + self.refused
        return 100.0 * (1 - bad / self.requests) if self.requests else 0.0

    def ttft_ms(self, percent: int) -> float | None:
        """Return a percentile of the time to the first token; infinite beyond the histogram, None without samples."""
        return _quantile_ms(SECONDS_BUCKETS, self.ttft, percent)

    def tpot_ms(self, percent: int) -> float | None:
        """Return a percentile of the time per token after the first."""
        return _quantile_ms(TOKEN_SECONDS_BUCKETS, self.tpot, percent)


Counts = Mapping[str, TierCounts]
"""By tier."""


def _added(now: Buckets, base: Buckets) -> Buckets:
    if len(base) != len(now):
        return now
    grown = tuple(map(sub, now, base))
    return grown if all(it >= 0 for it in grown) else now


def _quantile_ms(bounds: tuple[float, ...], counts: Buckets, percent: int) -> float | None:
    if len(counts) != len(bounds) + 1:
        return None
    quantile = bucket_quantile(list(zip((*bounds, math.inf), map(float, counts), strict=True)), percent / 100)
    return None if quantile is None else 1000 * quantile
