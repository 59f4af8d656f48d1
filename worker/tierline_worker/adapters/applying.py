"""What the decoder asks of adapters: behind it a device brings kernels of its own (segmented gathers, as in Punica)."""

from typing import Protocol

import torch

from tierline_worker.adapters.projections import Projection


class AppliesAdapters(Protocol):
    """The adapters of one iteration's tokens."""

    def add(self, layer: int, projection: Projection, x: torch.Tensor, out: torch.Tensor) -> None:
        """Add to `out` [tokens, outputs] what each token's adapter makes of `x` [tokens, inputs], in place."""
        ...
