"""Weights in 8 and 4 bits on devices without a kernel of ours for them: decoded for each product, by torch operators.

They take the memory that their bits take. The decoded matrix, in the dtype of the hidden states, lives for one product;
a decode step reads and writes it once more than 16-bit weights are read. So this is for models that do not fit
otherwise, not for speed. All sizes are fixed, so the products can be captured in graphs.
"""

import torch
from torch.nn import functional

from tierline_worker.model.quantize import GROUP, Groups4, Rows8


class DecodedInt8Linear:
    """Weights in 8 bits with a scale for each output, which is applied to the product."""

    def __init__(self, weight: Rows8, bias: torch.Tensor | None = None) -> None:
        self.weight_bytes = weight.values.nbytes + weight.scale.nbytes
        self._weight, self._bias = weight, bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        product = functional.linear(x, self._weight.values.to(x.dtype)).float().mul_(self._weight.scale).to(x.dtype)
        return product if self._bias is None else product.add_(self._bias)


class DecodedInt4Linear:
    """Weights in 4 bits with scale and minimum for each 32, two in a byte: those of the first and second half of a
    row."""

    def __init__(self, weight: Groups4, bias: torch.Tensor | None = None) -> None:
        half = weight.values.shape[1] // 2
        self._packed = weight.values[:, :half] | (weight.values[:, half:] << 4)
        self._scale, self._minimum, self._bias = weight.scale, weight.minimum, bias
        self.weight_bytes = self._packed.nbytes + self._scale.nbytes + self._minimum.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        values = torch.cat((self._packed & 15, self._packed >> 4), dim=1).to(x.dtype).view(len(self._packed), -1, GROUP)
        scale, minimum = (numbers.to(x.dtype).unsqueeze(-1) for numbers in (self._scale, self._minimum))
        return functional.linear(x, torch.addcmul(minimum, values, scale).flatten(1), self._bias)

    @staticmethod
    def holds(weight: torch.Tensor) -> bool:
        """Tell whether rows divide into groups, and into two halves."""
        return weight.shape[1] % GROUP == 0
