"""What lies between two blocks of a layer: the residual's sum and the norm behind it (Zhang and Sennrich, 2019).

On a CPU both are one pass, a third of the time of two torch operators at 1 to 256 tokens.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from tierline_worker.compiling import compiled

Floats = NDArray[np.float32]


def add_and_norm(hidden: torch.Tensor, added: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Add `added` to `hidden` [tokens, size] and return the sum's root mean square norm, scaled by `weight`."""
    if hidden.device.type == "cpu" and hidden.dtype is torch.float32:
        normed = torch.empty_like(hidden)
        _add_and_norm(hidden.numpy(), added.numpy(), weight.numpy(), epsilon, normed.numpy())
        return normed
    hidden += added
    return functional.rms_norm(hidden, weight.shape, weight, epsilon)


@compiled
def _add_and_norm(hidden: Floats, added: Floats, weight: Floats, epsilon: float, normed: Floats) -> None:
    tokens, size = hidden.shape
    for token in range(tokens):
        total = np.float32(0)
        for i in range(size):
            hidden[token, i] += added[token, i]
            total += hidden[token, i] * hidden[token, i]
        scale = np.float32(1) / np.sqrt(total / np.float32(size) + np.float32(epsilon))
        for i in range(size):
            normed[token, i] = hidden[token, i] * scale * weight[i]
