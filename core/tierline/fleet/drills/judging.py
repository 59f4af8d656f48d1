"""What a drill's fleet had to show, beside what it showed: one check for each thing that was asked for."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tierline.fleet.drills.counts import Counts, TierCounts

Percentiles = Mapping[int, int]
"""The longest time in milliseconds by percentile."""


@dataclass(frozen=True, slots=True)
class TierCriteria:
    """What one tier's requests must show; None and empty for what is not asked."""

    attainment_percent: int | None = None
    ttft_ms: Percentiles = field(default_factory=dict)
    tpot_ms: Percentiles = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Criteria:
    """What must hold; `flood_requests` is how many requests of a flood make it one."""

    recovery_ms: int
    max_failed: int = 0
    max_lost_tokens: int = 0
    max_duplicated_tokens: int = 0
    tiers: Mapping[str, TierCriteria] = field(default_factory=dict)
    flood_requests: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One figure against its bound; None for a figure that nobody knows. `broken` says in words what was not kept."""

    name: str
    measured: int | None
    bound: int
    broken: str = ""


def checks_of(criteria: Criteria, counts: Counts, recovery_ms: int | None, flood_requests: int) -> tuple[Check, ...]:
    """Return all checks of a drill that is over; `recovery_ms` is None for a fleet that was not ready again."""
    return (
        _recovery(criteria, recovery_ms),
        *_totals(criteria, counts),
        *(check for tier, asked in criteria.tiers.items() for check in _of_tier(tier, asked, counts.get(tier))),
        *_flood(criteria, flood_requests),
    )


def _recovery(criteria: Criteria, recovery_ms: int | None) -> Check:
    bound = criteria.recovery_ms // 1000
    if recovery_ms is None:
        told = f"the fleet was not ready again within {bound} s after the fault"
        return Check("recoverySeconds", None, bound, told)
    took = recovery_ms // 1000
    slow = recovery_ms > criteria.recovery_ms
    told = f"the fleet took {took} s to be ready again, {bound} s are allowed" if slow else ""
    return Check("recoverySeconds", took, bound, told)


def _totals(criteria: Criteria, counts: Counts) -> Iterator[Check]:
    for name, what, bound, figures in (
        ("failedRequests", "requests failed", criteria.max_failed, [it.failed for it in counts.values()]),
        ("lostTokens", "tokens were lost", criteria.max_lost_tokens, [it.lost_tokens for it in counts.values()]),
        (
            "duplicatedTokens",
            "tokens came twice",
            criteria.max_duplicated_tokens,
            [it.duplicated_tokens for it in counts.values()],
        ),
    ):
        total = sum(figures)
        yield Check(name, total if counts else None, bound, f"{total} {what}, {bound} may" if total > bound else "")


def _of_tier(tier: str, asked: TierCriteria, counts: TierCounts | None) -> Iterator[Check]:
    if counts is None or not counts.requests:
        told = f"tier {tier} had no requests, so nothing is known of it"
        yield Check(f"{tier}.requests", 0, 1, told)
        return
    if asked.attainment_percent is not None:
        share, wanted = counts.attainment_percent, asked.attainment_percent
        told = f"tier {tier} attained {share:.1f} %, {wanted} % are asked for" if share < wanted else ""
        yield Check(f"{tier}.attainmentPercent", int(share), wanted, told)
    for what, told_as, bounds, measure in (
        ("ttftMilliseconds", "first tokens", asked.ttft_ms, counts.ttft_ms),
        ("tpotMilliseconds", "time per token", asked.tpot_ms, counts.tpot_ms),
    ):
        for percent, bound in bounds.items():
            name = f"{tier}.{what}.p{percent}"
            yield _time(name, f"tier {tier} has a p{percent} of its {told_as}", measure(percent), bound)


def _time(name: str, what: str, measured_ms: float | None, bound: int) -> Check:
    if measured_ms is None:
        return Check(name, None, bound, f"{what} of which nothing is known")
    if math.isinf(measured_ms):
        return Check(name, None, bound, f"{what} beyond what is measured, {bound} ms are allowed")
    figure = math.ceil(round(measured_ms, 3))
    return Check(name, figure, bound, f"{what} of {figure} ms, {bound} ms are allowed" if figure > bound else "")


def _flood(criteria: Criteria, requests: int) -> Iterator[Check]:
    if criteria.flood_requests:
        few = requests < criteria.flood_requests
        told = f"only {requests} requests of the flood ended, so it was none" if few else ""
        yield Check("floodRequests", requests, criteria.flood_requests, told)
