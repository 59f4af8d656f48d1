"""Attention of long chunks of prompts on a CPU: over a gathered copy of their context, by matrix products.

A chunk's many tokens pay for the copy, and matrix products are faster than `cpu_attend`'s sums from `FEW_TOKENS` on.
KV is multiplied in its own dtype where the CPU does so fast, else in float32, into which the gathered pages are turned.
There the attention is torch's fused one (on AVX2 it takes 0.5 to 0.8 of two products' time), which never has all scores
in memory.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from tierline_worker.batch import FlatBatch
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.linear import multiplies_bfloat16

FEW_TOKENS = 8
_TILE_SCORES = 1 << 21


@dataclass(frozen=True, slots=True)
class Chunk:
    """A prefill chunk: its flat tokens from `first` to `end`, page rows, and mask [tokens, keys]."""

    first: int
    end: int
    pages: torch.Tensor
    mask: torch.Tensor


class ChunkAttention:
    """Attends chunks; gathers reuse two growing buffers."""

    def __init__(self, arena: KVArena) -> None:
        self._arena = arena
        self._head_pages = [arena.head_pages(layer) for layer in range(arena.layers)]
        self._scratch = torch.empty(0, dtype=torch.float32)
        self._turned = torch.empty(0)
        self._products = arena.dtype if arena.dtype is torch.bfloat16 and multiplies_bfloat16() else torch.float32

    def prepare(self, batch: FlatBatch, row: int) -> Chunk:
        """Return what all layers need to attend a row of the batch."""
        first, count, context = int(batch.first[row]), int(batch.counts[row]), int(batch.contexts[row])
        width = -(-context // self._arena.block_tokens)
        pages = self._arena.page_rows(torch.from_numpy(batch.tables[row : row + 1, :width])).view(-1)
        keys = width * self._arena.block_tokens
        hidden = np.arange(keys) > batch.positions[first : first + count, None]
        mask = torch.zeros(count, keys, dtype=self._products)
        mask.masked_fill_(torch.from_numpy(hidden), float("-inf"))
        return Chunk(first, first + count, pages, mask)

    def attend(self, layer: int, chunk: Chunk, query: torch.Tensor) -> torch.Tensor:
        """Return [chunk's tokens, heads, head_dim] for `query` [all tokens, heads, head_dim]."""
        keys, values = self._gather(layer, chunk.pages)
        heads = query[chunk.first : chunk.end].to(keys.dtype).transpose(0, 1)[None]
        if keys.dtype is torch.float32:
            fused = functional.scaled_dot_product_attention
            out = fused(heads, keys, values, attn_mask=chunk.mask, enable_gqa=True)
        else:
            out = _attend_in_tiles(heads, keys, values, chunk.mask)
        return out[0].transpose(0, 1)

    def _gather(self, layer: int, pages: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values [1, kv_heads, tokens, head_dim] of page rows; valid until the next gather."""
        needed = pages.numel() * self._head_pages[layer].shape[1]
        if self._scratch.numel() < needed:
            self._scratch = torch.empty(needed * 2, dtype=torch.float32)
        buffer = self._scratch[:needed].view(pages.numel(), -1)
        torch.index_select(self._head_pages[layer], 0, pages, out=buffer)
        numbers = self._multiplied(buffer.view(self._arena.dtype))
        shaped = numbers.view(2, 1, self._arena.kv_heads, -1, self._arena.head_dim)
        return shaped[0], shaped[1]

    def _multiplied(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return gathered numbers in the dtype of the products."""
        if numbers.dtype is self._products:
            return numbers
        if self._turned.numel() < numbers.numel():
            self._turned = torch.empty(numbers.numel() * 2, dtype=self._products)
        return self._turned[: numbers.numel()].view(numbers.shape).copy_(numbers)


def _attend_in_tiles(heads: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attend heads [1, heads, tokens, head_dim] in tiles of tokens, so that the scores stay near the cache."""
    kv_heads, context = keys.shape[1], keys.shape[2]
    tile = max(_TILE_SCORES // (heads.shape[1] * context), 16)
    tiles = []
    for part, part_mask in zip(torch.split(heads, tile, dim=2), torch.split(mask, tile), strict=True):
        rows = part.reshape(kv_heads, -1, part.shape[-1])
        scores = torch.baddbmm(
            part_mask.repeat(heads.shape[1] // kv_heads, 1),
            rows,
            keys[0].transpose(1, 2),
            alpha=rows.shape[-1] ** -0.5,
        )
        tiles.append(torch.bmm(torch.softmax(scores, dim=-1), values[0]).view(part.shape))
    return torch.cat(tiles, dim=2)
