"""Rotary position embeddings (Su et al., RoFormer, arXiv 2104.09864) in the half-split layout of Hugging Face.

Long contexts of Llama 3 slow the low frequencies down (Grattafiori et al., The Llama 3 Herd of Models, arXiv
2407.21783): each frequency is divided by a number of its own, from 1 for the fast ones to `factor` for the slow ones.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Rope:
    """Tables of [positions, head_dim]; `signed_sin` carries the minus of the rotation in its first half."""

    cos: torch.Tensor
    signed_sin: torch.Tensor

    @staticmethod
    def build(
        positions: int, head_dim: int, theta: float, dtype: torch.dtype, divisors: tuple[float, ...] = ()
    ) -> "Rope":
        """Return the tables; `divisors` [head_dim / 2] divide the frequencies, empty leaves them."""
        frequencies = _frequencies(head_dim, theta)
        if divisors:
            frequencies = frequencies / torch.tensor(divisors, dtype=torch.float32)
        angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies)
        cos = torch.cat((angles.cos(), angles.cos()), dim=-1)
        signed_sin = torch.cat((-angles.sin(), angles.sin()), dim=-1)
        return Rope(cos.to(dtype), signed_sin.to(dtype))

    def at(self, positions: torch.Tensor) -> "Rope":
        """Return the rows for `positions` [tokens], shaped [tokens, 1, head_dim] to span the heads."""
        return Rope(self.cos[positions].unsqueeze(1), self.signed_sin[positions].unsqueeze(1))

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """Rotate `x` [tokens, heads, head_dim]."""
        first, second = x.chunk(2, dim=-1)
        return torch.addcmul(x * self.cos, torch.cat((second, first), dim=-1), self.signed_sin)


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
        turns = self.trained_tokens * _frequencies(head_dim, theta).double() / (2 * torch.pi)
        kept = ((turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)).clamp(0.0, 1.0)
        divisors: list[float] = (1.0 / ((1.0 - kept) / self.factor + kept)).tolist()
        return tuple(divisors)


def _frequencies(head_dim: int, theta: float) -> torch.Tensor:
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    return 1.0 / theta**exponents
