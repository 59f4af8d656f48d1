"""The small interface behind which attention over paged KV is computed, so that a device brings its own kernels."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tierline_worker.batch import FlatBatch
from tierline_worker.model.rope import Rope


@dataclass(frozen=True, slots=True)
class Turn:
    """What a batch's heads go through before attention: the rotations of its tokens (`Rope.at`), and the epsilon of
    the norms of query and key where a model has them."""

    rope: Rope
    epsilon: float


class PreparedAttention(Protocol):
    """Attention for the layers of one iteration: indices and masks are built once, used by every layer."""

    def attend_heads(
        self, layer: int, projected: torch.Tensor, turn: Turn, qk_norm: torch.Tensor | None
    ) -> torch.Tensor:
        """Norm and rotate the heads, store the new tokens' KV, then attend over each request's whole context.

        projected [tokens, heads + 2 * kv_heads, head_dim]: query, key and value as the layer's product gives them;
        qk_norm [heads + kv_heads, head_dim] scales the normalised heads of query and key, None: they are not
        normalised. Returns [tokens, heads, head_dim].
        """
        ...


class AttentionBackend(Protocol):
    """A device's attention over its KV arena."""

    def prepare(self, batch: FlatBatch) -> PreparedAttention:
        """Build what all layers of this iteration share."""
        ...

    def copy(self, copies: NDArray[np.int32]) -> None:
        """Copy the KV of whole blocks, rows (source, target); all sources are read before any target is written."""
        ...

    def clear(self, blocks: NDArray[np.int32]) -> None:
        """Zero the KV of `blocks` whose numbers are not finite: a later owner's masked places are multiplied too."""
        ...
