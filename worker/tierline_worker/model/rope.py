"""Rotary position embeddings (Su et al., RoFormer, arXiv 2104.09864) in the half-split layout of Hugging Face."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Rope:
    """Tables of [positions, head_dim]; `signed_sin` carries the minus of the rotation in its first half."""

    cos: torch.Tensor
    signed_sin: torch.Tensor

    @staticmethod
    def build(
        positions: int,
        head_dim: int,
        theta: float,
        dtype: torch.dtype,
        divisors: tuple[float, ...] = (),
        *,
        magnitude: float = 1.0,
    ) -> "Rope":
        """Return the tables; `divisors` [head_dim / 2] divide the frequencies, empty leaves them; `magnitude`
        multiplies what is rotated."""
        turned = frequencies(head_dim, theta)
        if divisors:
            turned = turned / torch.tensor(divisors, dtype=torch.float32)
        angles = torch.outer(torch.arange(positions, dtype=torch.float32), turned)
        cos = torch.cat((angles.cos(), angles.cos()), dim=-1) * magnitude
        signed_sin = torch.cat((-angles.sin(), angles.sin()), dim=-1) * magnitude
        return Rope(cos.to(dtype), signed_sin.to(dtype))

    def at(self, positions: torch.Tensor) -> "Rope":
        """Return the rows for `positions` [tokens], shaped [tokens, 1, head_dim] to span the heads."""
        return Rope(self.cos[positions].unsqueeze(1), self.signed_sin[positions].unsqueeze(1))

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """Rotate `x` [tokens, heads, head_dim]."""
        first, second = x.chunk(2, dim=-1)
        return torch.addcmul(x * self.cos, torch.cat((second, first), dim=-1), self.signed_sin)


def frequencies(head_dim: int, theta: float) -> torch.Tensor:
    """Return by how much each pair [head_dim / 2] turns from one position to the next, in radians."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    return 1.0 / theta**exponents
