"""What a tier's targets mean for one request: the percentile of its deadline, and a finite number where none is set."""

from tierline.api.tier import SLOTierSpec, Targets

NO_TTFT_TARGET_MS = 600_000
"""Deadline of the first token where a tier declares none: finite, so that every request has a place by slack."""
NO_TPOT_TARGET_MS = 10_000
NO_TARGET_ATTAINMENT_PERCENT = 95


def ttft_deadline_ms(spec: SLOTierSpec) -> int:
    """Return when the first token is due, counted from a request's arrival."""
    targets = (spec.targets or Targets()).ttft_milliseconds
    declared = targets.at(spec.deadline_percentile) if targets else None
    return declared or deadline_ms(spec) or NO_TTFT_TARGET_MS


def tpot_budget_ms(spec: SLOTierSpec) -> int:
    """Return what each token after the first one may take."""
    targets = (spec.targets or Targets()).tpot_milliseconds
    return (targets.at(spec.deadline_percentile) if targets else None) or NO_TPOT_TARGET_MS


def deadline_ms(spec: SLOTierSpec) -> int | None:
    """Return when the whole answer is due, None where the tier does not say."""
    seconds = (spec.targets or Targets()).deadline_seconds
    return None if seconds is None else seconds * 1000


def attainment_percent(spec: SLOTierSpec) -> int:
    """Return the share of requests that must meet the targets: by default that of the percentile of the deadline."""
    if spec.attainment_percent is not None:
        return spec.attainment_percent
    if spec.deadline_percentile is not None:
        return int(spec.deadline_percentile.removeprefix("P"))
    targets = spec.targets or Targets()
    loosest = [group.tightest_percent() for group in (targets.ttft_milliseconds, targets.tpot_milliseconds) if group]
    return min(loosest, default=NO_TARGET_ATTAINMENT_PERCENT)
