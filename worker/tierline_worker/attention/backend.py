"""The small interface behind which attention over paged KV is computed, so that a device brings its own kernels."""

from typing import Protocol

import torch

from tierline_worker.batch import FlatBatch, Ints


class PreparedAttention(Protocol):
    """Attention for the layers of one iteration: indices and masks are built once, used by every layer."""

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Store the new tokens' KV, then attend over each request's whole context.

        query [tokens, heads, head_dim]; key and value [tokens, kv_heads, head_dim], rotated.
        Returns [tokens, heads, head_dim].
        """
        ...


class AttentionBackend(Protocol):
    """A device's attention over its KV arena."""

    def prepare(self, batch: FlatBatch) -> PreparedAttention:
        """Build what all layers of this iteration share."""
        ...

    def clear(self, blocks: Ints) -> None:
        """Zero the KV of `blocks` whose numbers are not finite: a later owner's masked places are multiplied too."""
        ...
