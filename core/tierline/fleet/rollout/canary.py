"""May the other workers follow the canaries? The error budget of the requests that canaries served decides.

For each tier: n requests ended on canaries, of which `bad` missed their targets or failed. The tier's budget is the
share 1 - attainment that may be bad; what the stable revision shows under the same traffic widens it, so that an
overload that hits both is not blamed on the change: allowed = max(budget, bad share of stable).

- Burning, when the change is certainly worse: the lower end of Wilson's score interval of bad / n, at 95 % one-sided
  confidence, is above `allowed` (Wilson, J. Am. Stat. Assoc. 22, 1927). Few requests give a wide interval, so one
  unlucky request in a tier with a budget takes nothing back; in a tier without one (attainment 100) it does.
- Passed, when at least `min_requests` ended and no tier's bad share is above `allowed`.
- Unsure otherwise, and without figures: a change that nobody has seen serving is not spread.

Not for comparing throughput or cost: a canary that is only slower within its tiers' targets passes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

CONFIDENCE_Z = 1.645
"""Quantile of the normal distribution at 95 %."""


@dataclass(frozen=True, slots=True)
class TierFigures:
    """Requests of one tier that ended on workers of one revision since the canaries began; `bad` is a part of them."""

    requests: int
    bad: int

    @property
    def bad_share(self) -> float:
        return self.bad / self.requests if self.requests else 0.0


Figures = Mapping[str, TierFigures]
"""One revision's figures by tier."""


@dataclass(frozen=True, slots=True)
class CanaryFigures:
    """What canaries and the workers beside them have shown."""

    canary: Figures
    stable: Figures


class Judgement(Enum):
    """What the figures say about a change."""

    PASSED = "Passed"
    BURNING = "Burning"
    UNSURE = "Unsure"


@dataclass(frozen=True, slots=True)
class CanaryVerdict:
    """A judgement and its reason, as a word and as a sentence."""

    judgement: Judgement
    reason: str
    message: str


def judge_canary(
    figures: CanaryFigures | None, attainment_percent: Mapping[str, int], min_requests: int
) -> CanaryVerdict:
    """Return the verdict on a change; `attainment_percent` holds the tiers of the fleet, None is "no figures known"."""
    if min_requests == 0 and not (figures and figures.canary):
        return CanaryVerdict(Judgement.PASSED, "NotAsked", "The canaries are ready and no requests are asked for.")
    if figures is None:
        return CanaryVerdict(Judgement.UNSURE, "MetricsSilent", "No gateway tells how the canaries' requests fare.")
    worse = [_burn(name, figures, budget) for name, budget in _budgets(figures, attainment_percent)]
    burning = [told for certain, told in worse if certain]
    if burning:
        return CanaryVerdict(Judgement.BURNING, "BudgetBurnt", f"{'; '.join(burning)}.")
    total = sum(tier.requests for tier in figures.canary.values())
    if total < min_requests:
        message = f"Fewer than {min_requests} requests have ended on canaries."
        return CanaryVerdict(Judgement.UNSURE, "TooFewRequests", message)
    doubtful = [name for name, (_, told) in zip(sorted(figures.canary), worse, strict=True) if told]
    if doubtful:
        message = f"Canaries miss more than they may in the tiers {', '.join(doubtful)}, but that is not yet certain."
        return CanaryVerdict(Judgement.UNSURE, "BudgetBurning", message)
    return CanaryVerdict(Judgement.PASSED, "WithinBudget", f"{total} requests on canaries kept their tiers' budgets.")


def wilson_lower(bad: int, total: int, z: float = CONFIDENCE_Z) -> float:
    """Return the lower end of the score interval of a share; 0 without observations."""
    if not total:
        return 0.0
    share, square = bad / total, z * z
    centre = share + square / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, (centre - spread) / (1 + square / total))


def _budgets(figures: CanaryFigures, attainment_percent: Mapping[str, int]) -> list[tuple[str, float]]:
    return [(name, 1 - attainment_percent.get(name, 100) / 100) for name in sorted(figures.canary)]


def _burn(tier: str, figures: CanaryFigures, budget: float) -> tuple[bool, str]:
    """Return whether the tier's budget is certainly burnt, and what there is to tell; nothing when all is well."""
    canary, stable = figures.canary[tier], figures.stable.get(tier, TierFigures(0, 0))
    allowed = max(budget, stable.bad_share)
    if canary.bad_share <= allowed:
        return False, ""
    told = f"tier {tier}: {canary.bad} of {canary.requests} requests on canaries missed or failed, {allowed:.1%} may"
    return wilson_lower(canary.bad, canary.requests) > allowed, told
