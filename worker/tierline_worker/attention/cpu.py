"""Attention over the paged arena on a CPU: a compiled kernel reads keys and values in their pages (`cpu_attend`).

Float32 is the format to compare in: a token has the same bits whether it was a prompt's or decoded, in
whatever chunk and beside whomever. So a request that continues on another worker says what it
would have said.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tierline_worker.attention.backend import Turn
from tierline_worker.attention.cpu_attend import Pages, Scratch, attend, new_scratch
from tierline_worker.attention.cpu_tiles import Tiles, cut
from tierline_worker.attention.cpu_turn import Places, Turned, turn_and_store
from tierline_worker.attention.kv_bits import KINDS, bits_of
from tierline_worker.batch import FlatBatch
from tierline_worker.kv_arena import KVArena

_NO_NORMS = np.empty((0, 0), np.float32)


class CPUAttention:
    """An `AttentionBackend` with as many threads as torch has."""

    def __init__(self, arena: KVArena) -> None:
        self._arena = arena
        self._pages = Pages(bits_of(arena.pages).reshape(*arena.pages.shape[:4], -1), KINDS[arena.dtype])
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads, "attention")
        self._scratch = [self._new_scratch(0) for _ in range(self._threads)]

    def prepare(self, batch: FlatBatch) -> "_CPUPrepared":
        return _CPUPrepared(self, batch, cut(batch, self._arena.kv_heads, self._threads))

    def copy(self, copies: NDArray[np.int32]) -> None:
        sources, targets = torch.from_numpy(copies.T.astype(np.int64))
        self._arena.copy(sources, targets)

    def clear(self, blocks: NDArray[np.int32]) -> None:
        self._arena.pages[torch.from_numpy(blocks.astype(np.int64))] = 0

    def turn(
        self, layer: int, batch: FlatBatch, projected: torch.Tensor, turn: Turn, qk_norm: torch.Tensor | None
    ) -> torch.Tensor:
        """Store the new tokens' KV and return their turned queries [tokens, heads, head_dim] in float32."""
        tokens, all_heads, size = projected.shape
        query = torch.empty(tokens, all_heads - 2 * self._arena.kv_heads, size)
        numbers, cos, sin = (_numbers(part) for part in (projected, turn.rope.cos[:, 0], turn.rope.signed_sin[:, 0]))
        turned = Turned(cos, sin, _NO_NORMS if qk_norm is None else _numbers(qk_norm), turn.epsilon)
        turn_and_store(numbers, turned, Places(self._pages, layer, batch.blocks, batch.offsets), query.numpy())
        return query

    def attend_tiles(self, layer: int, tiles: Tiles, query: torch.Tensor, out: torch.Tensor) -> None:
        """Attend the tokens of `tiles`, with a thread for each part of them."""
        lines = tiles.tokens * query.shape[1] // self._arena.kv_heads
        ours, theirs = query.numpy(), out.numpy()

        def compute(index: int) -> None:
            scratch = self._scratch_of(index, lines)
            attend(self._pages, layer, tiles.rows, tiles.tiles, tiles.parts[index], ours, theirs, scratch)

        others = [self._pool.submit(compute, index) for index in range(1, len(tiles.parts))]
        if tiles.parts:
            compute(0)
        for other in others:
            other.result()

    def _scratch_of(self, index: int, lines: int) -> Scratch:
        if len(self._scratch[index].queries) < lines:
            self._scratch[index] = self._new_scratch(lines)
        return self._scratch[index]

    def _new_scratch(self, lines: int) -> Scratch:
        return new_scratch(lines, self._arena.block_tokens, self._arena.head_dim)


def _numbers(tensor: torch.Tensor) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = tensor.float().contiguous().numpy()
    return numbers


@dataclass(frozen=True, slots=True)
class _CPUPrepared:
    """The indices of one iteration."""

    backend: CPUAttention
    batch: FlatBatch
    tiles: Tiles

    def attend_heads(
        self, layer: int, projected: torch.Tensor, turn: Turn, qk_norm: torch.Tensor | None
    ) -> torch.Tensor:
        query = self.backend.turn(layer, self.batch, projected, turn, qk_norm)
        out = torch.empty_like(query)
        self.backend.attend_tiles(layer, self.tiles, query, out)
        return out.to(projected.dtype)
