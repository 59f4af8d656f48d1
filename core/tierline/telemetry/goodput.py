"""Goodput on the demand side: tokens delivered by their deadline over tokens demanded.

The naive forms can be gamed (Wang et al., "Revisiting SLO and Goodput Metrics in LLM Serving", arXiv 2410.14257):
dropping a request or holding its tokens back improves them. Here refused and lost tokens stay in the denominator and
each token has a deadline of its own, so neither helps.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tierline.telemetry.records import Outcome, RequestRecord, TierTarget


@dataclass(frozen=True, slots=True)
class Goodput:
    """Shares in [0, 1]: of demanded tokens that came in time, of demanded requests that met their tier."""

    tokens: float
    requests: float


def token_due_ms(target: TierTarget, position: int) -> float:
    """Return when output token `position` is due, in milliseconds after arrival; infinite without a target."""
    whole = math.inf if target.deadline_ms is None else target.deadline_ms
    if target.ttft_ms is None:
        return whole
    if position == 0:
        return min(target.ttft_ms, whole)
    pace = math.inf if target.tpot_ms is None else target.tpot_ms
    return min(target.ttft_ms + position * pace, whole)


def tokens_in_time(record: RequestRecord, target: TierTarget, demanded: int) -> int:
    """Count the demanded tokens that arrived by their deadline; a token beyond the demand earns nothing."""
    waits = (moment - record.arrived_ms for moment in record.token_times_ms[:demanded])
    return sum(wait <= token_due_ms(target, position) for position, wait in enumerate(waits))


def met(record: RequestRecord, target: TierTarget) -> bool:
    """Whether the request was served in full within its tier's TTFT, TPOT and deadline."""
    served = len(record.token_times_ms) >= (record.demanded_tokens or 0)
    if record.outcome is not Outcome.OK or record.lost_tokens or not served:
        return False
    elapsed = record.token_times_ms[-1] - record.arrived_ms if record.token_times_ms else 0.0
    limits = ((record.ttft_ms, target.ttft_ms), (record.tpot_ms, target.tpot_ms), (elapsed, target.deadline_ms))
    return all(value is None or limit is None or value <= limit for value, limit in limits)


def demands(records: Sequence[RequestRecord]) -> dict[str, int]:
    """Return each request's demanded tokens by id; a hidden length is the median of its tenant and tier, tier, all."""
    known = [record for record in records if record.demanded_tokens is not None]
    return {record.request_id: _demand(record, known) for record in records}


def goodput(
    records: Sequence[RequestRecord], targets: Mapping[str, TierTarget], demanded: Mapping[str, int]
) -> Goodput:
    """Return the goodput of `records`, 1.0 when nothing was demanded; `demanded` comes from `demands` of the run."""
    total = sum(demanded[record.request_id] for record in records)
    in_time = sum(tokens_in_time(record, targets[record.tier], demanded[record.request_id]) for record in records)
    good = sum(met(record, targets[record.tier]) for record in records)
    return Goodput(in_time / total if total else 1.0, good / len(records) if records else 1.0)


def _demand(record: RequestRecord, known: Sequence[RequestRecord]) -> int:
    if record.demanded_tokens is not None:
        return record.demanded_tokens
    same_tier = [other for other in known if other.tier == record.tier]
    same_tenant = [other for other in same_tier if other.tenant == record.tenant]
    return _median_tokens(same_tenant or same_tier or known)


def _median_tokens(records: Iterable[RequestRecord]) -> int:
    lengths = [record.demanded_tokens for record in records if record.demanded_tokens is not None]
    return max(round(statistics.median(lengths)), 1) if lengths else 1
