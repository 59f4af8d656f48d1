"""Weights in few bits: the numbers themselves, independent of the kernel that multiplies by them.

Four bits are kept with a scale and a minimum for each group of 32 weights of a row, which is what GGUF's Q4_0 and
Q4_1 store; eight bits with a scale for each row. Both round to the nearest value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

GROUP = 32
_LEVELS_4 = 15
_LEVELS_8 = 127


@dataclass(frozen=True, slots=True)
class Groups4:
    """A matrix [out, in] as `scale · value + minimum`.

    `values` uint8 [out, in], from 0 to 15; `scale` and `minimum` float32 [out, in / 32].
    """

    values: torch.Tensor
    scale: torch.Tensor
    minimum: torch.Tensor

    @staticmethod
    def of(weight: torch.Tensor) -> "Groups4":
        """Round `weight` [out, in]; `in` divides by 32."""
        groups = weight.float().reshape(len(weight), -1, GROUP)
        low, high = groups.aminmax(dim=-1)
        scale = (high - low) / _LEVELS_4
        values = (groups - low.unsqueeze(-1)) / scale.clamp_min(torch.finfo(torch.float32).tiny).unsqueeze(-1)
        return Groups4(values.round_().clamp_(0, _LEVELS_4).to(torch.uint8).flatten(1), scale, low)

    @staticmethod
    def stacked(parts: Sequence["Groups4"]) -> "Groups4":
        """Put the rows of several matrices below each other."""
        return Groups4(
            torch.cat([part.values for part in parts]),
            torch.cat([part.scale for part in parts]),
            torch.cat([part.minimum for part in parts]),
        )

    def to(self, device: torch.device) -> "Groups4":
        """Return the matrix on `device`."""
        return Groups4(self.values.to(device), self.scale.to(device), self.minimum.to(device))

    def rows(self, order: torch.Tensor) -> "Groups4":
        """Return the rows in another order; `order` int64 [out]."""
        return Groups4(self.values[order], self.scale[order], self.minimum[order])

    def dense(self) -> torch.Tensor:
        """Return the matrix in float32."""
        groups = self.values.float().view(len(self.values), -1, GROUP)
        return (groups * self.scale.unsqueeze(-1) + self.minimum.unsqueeze(-1)).flatten(1)


@dataclass(frozen=True, slots=True)
class Rows8:
    """A matrix [out, in] as `scale · value`: `values` int8 [out, in], from -127 to 127; `scale` float32 [out]."""

    values: torch.Tensor
    scale: torch.Tensor

    @staticmethod
    def of(weight: torch.Tensor) -> "Rows8":
        """Round `weight` [out, in]."""
        scale = weight.float().abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / _LEVELS_8
        return Rows8((weight.float() / scale.unsqueeze(1)).round_().to(torch.int8), scale)
