"""How rotary embeddings reach beyond the context that a model was trained on.

Each way divides the frequency of every pair by a number of its own, from 1 (kept) to `factor` (slowed as much as the
context grew):
- linear: all by `factor` (Chen et al., Position Interpolation, arXiv 2306.15595);
- llama3: by how often a pair turns within the trained context (Grattafiori et al., The Llama 3 Herd of Models,
  arXiv 2407.21783);
- yarn: by the same, in a ramp over the pairs, and scores are scaled by `attention_factor` (Peng et al., YaRN,
  arXiv 2309.00071).
"""

import math
from dataclasses import dataclass

import torch

from tierline_worker.model.rope import frequencies


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """Every frequency is divided alike."""

    factor: float

    def divisors(self, head_dim: int, _theta: float) -> tuple[float, ...]:
        """Return what divides each frequency [head_dim / 2]."""
        return (self.factor,) * (head_dim // 2)


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """How Llama 3 stretches a model that was trained on `trained_tokens`; factors are plain ratios."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    trained_tokens: float

    def divisors(self, head_dim: int, theta: float) -> tuple[float, ...]:
        """Return what divides each frequency [head_dim / 2].

        A frequency that turns more than `high_freq_factor` times within `trained_tokens` stays, one that turns less
        than `low_freq_factor` times is divided by `factor`; between the two both are blended.
        """
        turns = self.trained_tokens * frequencies(head_dim, theta).double() / (2 * torch.pi)
        kept = ((turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)).clamp(0.0, 1.0)
        return _blended(kept, self.factor)


@dataclass(frozen=True, slots=True)
class YarnScaling:
    """YaRN for a model that was trained on `trained_tokens`; `fast_turns` and `slow_turns` bound its ramp."""

    factor: float
    trained_tokens: float
    fast_turns: float = 32.0
    slow_turns: float = 1.0

    @property
    def attention_factor(self) -> float:
        """What cosine and sine are multiplied by, where the model names no other."""
        return 0.1 * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0

    def divisors(self, head_dim: int, theta: float) -> tuple[float, ...]:
        """Return what divides each frequency [head_dim / 2].

        Pairs before the one that turns `fast_turns` times within `trained_tokens` stay, those after the one that turns
        `slow_turns` times are divided by `factor`, both bounds rounded outwards; between them both are blended.
        """
        first = max(math.floor(self._pair_turning(self.fast_turns, head_dim, theta)), 0)
        last = min(math.ceil(self._pair_turning(self.slow_turns, head_dim, theta)), head_dim - 1)
        pairs = torch.arange(head_dim // 2, dtype=torch.float64)
        # A ramp of no width is a step.
        slowed = ((pairs - first) / max(last - first, 0.001)).clamp(0.0, 1.0)
        return _blended(1.0 - slowed, self.factor)

    def _pair_turning(self, turns: float, head_dim: int, theta: float) -> float:
        return head_dim * math.log(self.trained_tokens / (turns * 2 * math.pi)) / (2 * math.log(theta))


def _blended(kept: torch.Tensor, factor: float) -> tuple[float, ...]:
    divisors: list[float] = (1.0 / ((1.0 - kept) / factor + kept)).tolist()
    return tuple(divisors)
