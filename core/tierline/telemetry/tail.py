"""Tail outliers: how often a stream stutters, by its gaps between tokens."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tierline.telemetry.measured import Measured, Unknown
from tierline.telemetry.records import RequestRecord

OUTLIER_FACTOR = 5
STALL_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Tail:
    """Share of gaps over five times the median gap, and gaps over one second."""

    gap_over_5x_median_share: Measured
    stalls_over_1s: int


def tail(records: Sequence[RequestRecord]) -> Tail:
    """Summarise the gaps of all streams."""
    gaps = [gap for record in records for gap in record.gaps_ms]
    stalls = sum(gap > STALL_MS for gap in gaps)
    if not gaps:
        return Tail(Unknown("no stream had two tokens"), stalls)
    limit = OUTLIER_FACTOR * statistics.median(gaps)
    return Tail(sum(gap > limit for gap in gaps) / len(gaps), stalls)


def added_stalls_ms(records: Sequence[RequestRecord]) -> list[float]:
    """Return, for each interrupted stream with tokens, its longest gap less its median gap."""
    interrupted = [record for record in records if record.interrupted and record.gaps_ms]
    return [max(record.gaps_ms) - statistics.median(record.gaps_ms) for record in interrupted]
