"""The decision matrix read backwards: which overrides of a tier go against what its objective is for.

Framework §5 names for each objective what to avoid. A tier may still ask for it, since the one who declares it may know
better; then its condition `Recommended` says what is unusual about it, and which field to change. Defaults never do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tierline.api.decision_matrix import Objective
from tierline.api.policy import TierPolicy

FAIR_QUANTUM_TOKENS: Final = 1_000_000
"""A quantum above this lets one tenant run ahead by more than a worker serves in a minute."""


@dataclass(frozen=True)
class Advice:
    """What is unusual for the tier's objective: a reason in one word, the field, and why it matters and what to do."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field} {self.message}"


@dataclass(frozen=True)
class _Avoid:
    applies: Callable[[TierPolicy], bool]
    advice: Advice


_AVOID: Mapping[Objective, tuple[_Avoid, ...]] = MappingProxyType(
    {
        "Latency": (
            _Avoid(
                lambda tier: tier.batching != "Continuous",
                Advice(
                    "BatchesMakeWait",
                    "spec.batching.mode",
                    "lets a request wait for the batch or slice before it; a Latency tier should batch Continuous",
                ),
            ),
            _Avoid(
                lambda tier: tier.granularity == "Request",
                Advice(
                    "CoarsePreemption",
                    "spec.preemption.granularity",
                    "lets room be made only when whole requests end; a Latency tier should use Token",
                ),
            ),
        ),
        "Throughput": (
            _Avoid(
                lambda tier: tier.preemptible and tier.granularity == "Token",
                Advice(
                    "FrequentPreemption",
                    "spec.preemption.granularity",
                    "interrupts requests after any token, which costs what a Throughput tier is for; use Request",
                ),
            ),
        ),
        "Cost": (
            _Avoid(
                lambda tier: tier.spot == "Avoid",
                Advice(
                    "SpotAvoided",
                    "spec.spot",
                    "keeps the tier off the cheapest capacity; a Cost tier should Allow spot, or use Only",
                ),
            ),
        ),
        "Fairness": (
            _Avoid(
                lambda tier: tier.order == "Deadline",
                Advice(
                    "NoFairness",
                    "spec.fairness.order",
                    "serves by deadline whoever asks most; a Fairness tier should order by Service",
                ),
            ),
            _Avoid(
                lambda tier: tier.locality == "Prefer" and tier.quantum_tokens > FAIR_QUANTUM_TOKENS,
                Advice(
                    "NoFairness",
                    "spec.fairness.quantumTokens",
                    f"lets cached prefixes outweigh fairness; a Fairness tier should stay below {FAIR_QUANTUM_TOKENS}",
                ),
            ),
        ),
    }
)


def advise(tier: TierPolicy) -> tuple[Advice, ...]:
    """Return what is unusual about the tier, nothing for one that follows its objective."""
    return tuple(avoid.advice for avoid in _AVOID[tier.objective] if avoid.applies(tier))
