"""From what a drill's spec asks for to what it is judged by."""

from tierline.api.drill import FleetDrillSpec, TierCriterion
from tierline.api.tier import TpotTargets, TtftTargets
from tierline.fleet.drills.judging import Criteria, Percentiles, TierCriteria

FLOOD_SHARE = 0.5
"""A flood of which less than this share arrives has proved nothing."""


def criteria_of(spec: FleetDrillSpec) -> Criteria:
    """Return what must hold."""
    asked = spec.criteria
    return Criteria(
        recovery_ms=asked.recovery_seconds * 1000,
        max_failed=asked.max_failed_requests,
        max_lost_tokens=asked.max_lost_tokens,
        max_duplicated_tokens=asked.max_duplicated_tokens,
        tiers={it.tier_ref: _of_tier(it) for it in asked.tiers},
        flood_requests=int(FLOOD_SHARE * spec.flood.requests_per_second * spec.seconds) if spec.flood else 0,
    )


def _of_tier(asked: TierCriterion) -> TierCriteria:
    return TierCriteria(asked.attainment_percent, _bounds(asked.ttft_milliseconds), _bounds(asked.tpot_milliseconds))


def _bounds(declared: TtftTargets | TpotTargets | None) -> Percentiles:
    given = {50: declared.p50, 95: declared.p95, 99: declared.p99} if declared is not None else {}
    return {percent: bound for percent, bound in given.items() if bound is not None}
