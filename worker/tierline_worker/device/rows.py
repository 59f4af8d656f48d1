"""Where the tokens of an iteration are on the device: what attention kernels index by."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tierline_worker.attention.backend import AttentionBackend, PreparedAttention

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """Rows of several tokens. rows int32 [4, n]: slots, starts, counts and index of the first token; tiles int32
    [m, 2]: each row cut into blocks of query tokens, as pairs of its index and the block's first token."""

    rows: torch.Tensor
    tiles: torch.Tensor


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """table int32 [slots, width]; places int64 [tokens]: block times block_tokens plus offset of each new token.

    The first tokens are one-token rows: their slots and contexts (the new token included), int64 [decodes].
    """

    table: torch.Tensor
    places: torch.Tensor
    slots: torch.Tensor
    contexts: torch.Tensor
    chunks: ChunkRows | None = None


class DeviceAttention(AttentionBackend, Protocol):
    """Attention whose indices are on the device already; `query_tokens` is how many tokens a tile of chunks has."""

    query_tokens: int

    def over(self, rows: DeviceRows) -> PreparedAttention: ...


def tiles_of(counts: Ints, query_tokens: int) -> Ints:
    """Return (row, first token) of all blocks of `query_tokens` tokens, int64 [tiles, 2], rows one after the other."""
    blocks = -(-counts // query_tokens)
    rows = np.repeat(np.arange(len(counts)), blocks)
    firsts = (np.arange(len(rows)) - np.repeat(np.cumsum(blocks) - blocks, blocks)) * query_tokens
    return np.stack((rows, firsts), axis=1)
