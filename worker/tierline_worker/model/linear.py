"""Linear layers in full precision, and what every linear layer offers.

`linear_narrow.py` has those whose weights are held in fewer bits than they are computed in.
"""

from typing import Protocol

import torch
from torch.nn import functional


class Linear(Protocol):
    """`y = x · weightᵀ + bias` for `x` [tokens, in] and `y` [tokens, out], both in the dtype of the hidden states."""

    @property
    def weight_bytes(self) -> int:
        """Memory that the weight takes."""
        ...

    def __call__(self, x: torch.Tensor) -> torch.Tensor: ...


class DenseLinear:
    """Weight [out, in] and bias [out] (None for no bias) in the dtype of the hidden states.

    On CPUs with oneDNN the weight is reordered once; measured on one AVX-512 core this halves the time of decode
    steps in float32 and bfloat16, and of prefill chunks in float32.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self.weight_bytes = weight.nbytes
        self._packed = _can_pack(weight)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if self._packed else weight
        self._bias = bias
        # A single row has a kernel of its own, which rounds otherwise; in float32 bits must not tell a token's company.
        self._pairs = weight.dtype is torch.float32

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self._packed:
            rows = x.expand(2, -1) if self._pairs and x.shape[0] == 1 else x
            product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._weight, self._bias, "none", [], "")
            return product[: x.shape[0]]
        return functional.linear(x, self._weight, self._bias)


def multiplies_bfloat16() -> bool:
    """Tell whether this CPU has instructions for bfloat16 products; without them torch is slower than in float32."""
    return bool(torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _can_pack(weight: torch.Tensor) -> bool:
    if weight.device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    return weight.dtype is torch.float32 or (weight.dtype is torch.bfloat16 and multiplies_bfloat16())
