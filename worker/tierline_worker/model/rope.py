"""Rotary position embeddings (Su et al., RoFormer, arXiv 2104.09864) in the half-split layout of Hugging Face."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Rope:
    """Tables of [positions, head_dim]; `signed_sin` carries the minus of the rotation in its first half."""

    cos: torch.Tensor
    signed_sin: torch.Tensor

    @staticmethod
    def build(positions: int, head_dim: int, theta: float, dtype: torch.dtype) -> "Rope":
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
        angles = torch.outer(torch.arange(positions, dtype=torch.float32), 1.0 / theta**exponents)
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
