"""Attention over the paged arena on a CPU.

Decodes are grouped by context length; a group's pages are gathered in one copy per layer and attended with two batched
matrix products, in which the query heads of a key/value head are rows of one product (measured 2.5 times faster than
fused attention in bfloat16 at 16 x 400 tokens, equal in float32). A decode alone with a short context is the exception:
torch's fused attention has fewer calls (in bfloat16 a third less time at 130 tokens, equal at 400). Each prefill chunk
is attended by itself, with the same products, or in float32 with the fused attention (on AVX2 it takes 0.5 to 0.8 of
their time, from 64 tokens at 7,000 to 512 at 0).

KV is multiplied in its own dtype where the CPU does so fast, else in float32, into which the gathered pages are turned:
on a CPU without bfloat16 products (AVX2) that takes 0.43 of the time at 16 x 400 tokens, 0.31 at 1 x 4,000.

Float32 is the format to compare in: there a position has the same bits whether it was a prompt's or decoded, in
whatever chunk and beside whomever. So a request that continues on another worker says what it would have said. The
products' bits depend on how many query rows they have, but not on how many products there are nor on padded keys
(measured; padding is in whole blocks). Hence in float32 each token is attended by a product of its own. A prompt of
1,000 tokens takes half as much time again for it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from tierline_worker.attention.backend import Unfused
from tierline_worker.batch import FlatBatch, Ints
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.linear import multiplies_bfloat16

_MAX_PADDING = 1.25
_TILE_SCORES = 1 << 21
_SHORT_CONTEXT = 384


@dataclass(frozen=True, slots=True)
class _DecodeGroup:
    """Decodes of similar context: flat token indices, page rows [2·rows·kv_heads·width], the longest context, and mask
    [rows·kv_heads, 1, keys]."""

    tokens: torch.Tensor | slice
    rows: int
    pages: torch.Tensor
    context: int
    mask: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A prefill chunk: its flat tokens from `first` to `end`, their positions, page rows, and mask [tokens, keys].

    In float32 the last tokens may have `paths`: the places behind the others that each attends to, in order.
    """

    first: int
    end: int
    positions: list[int]
    pages: torch.Tensor
    mask: torch.Tensor
    paths: tuple[list[int], ...] = ()


class CPUAttention:
    """An `AttentionBackend` on torch operators; gathers reuse two growing buffers."""

    def __init__(self, arena: KVArena) -> None:
        self._arena = arena
        self.block_tokens, self.kv_heads = arena.block_tokens, arena.kv_heads
        self._token_rows = [arena.token_rows(layer) for layer in range(arena.layers)]
        self._head_pages = [arena.head_pages(layer) for layer in range(arena.layers)]
        self._scratch = torch.empty(0, dtype=torch.float32)
        self._turned = torch.empty(0)
        self.exact = arena.dtype is torch.float32
        self.products = arena.dtype if arena.dtype is torch.bfloat16 and multiplies_bfloat16() else torch.float32

    def prepare(self, batch: FlatBatch) -> "_CPUPrepared":
        groups = tuple(self._group(batch, rows) for rows in _similar_lengths(batch, self._arena.block_tokens))
        chunks = tuple(self._chunk(batch, row) for row in range(batch.decodes, len(batch.counts)))
        return _CPUPrepared(self, self._places(batch), groups, chunks)

    def copy(self, copies: NDArray[np.int32]) -> None:
        sources, targets = torch.from_numpy(copies.T.astype(np.int64))
        self._arena.copy(sources, targets)

    def clear(self, blocks: NDArray[np.int32]) -> None:
        self._arena.pages[torch.from_numpy(blocks.astype(np.int64))] = 0

    def store(self, layer: int, places: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
        """Write key and value [tokens, kv_heads, head_dim] to the arena rows `places` [2·tokens·kv_heads]."""
        both = torch.cat((key, value)).view(-1, self._arena.head_dim).to(self._arena.dtype)
        self._token_rows[layer].index_copy_(0, places, both)

    def gather(self, layer: int, pages: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values [rows, kv_heads, tokens, head_dim] of page rows; valid until the next gather."""
        needed = pages.numel() * self._head_pages[layer].shape[1]
        if self._scratch.numel() < needed:
            self._scratch = torch.empty(needed * 2, dtype=torch.float32)
        buffer = self._scratch[:needed].view(pages.numel(), -1)
        torch.index_select(self._head_pages[layer], 0, pages, out=buffer)
        numbers = self._multiplied(buffer.view(self._arena.dtype))
        shaped = numbers.view(2, rows, self._arena.kv_heads, -1, self._arena.head_dim)
        return shaped[0], shaped[1]

    def _multiplied(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return gathered numbers in the dtype of the products."""
        if numbers.dtype is self.products:
            return numbers
        if self._turned.numel() < numbers.numel():
            self._turned = torch.empty(numbers.numel() * 2, dtype=self.products)
        return self._turned[: numbers.numel()].view(numbers.shape).copy_(numbers)

    def _places(self, batch: FlatBatch) -> torch.Tensor:
        arena = self._arena
        per_block = arena.layers * 2 * arena.kv_heads
        heads = np.arange(arena.kv_heads)
        keys = (batch.blocks[:, None] * per_block + heads) * arena.block_tokens + batch.offsets[:, None]
        return torch.from_numpy(np.concatenate((keys, keys + arena.kv_heads * arena.block_tokens)).reshape(-1))

    def _group(self, batch: FlatBatch, rows: Ints) -> _DecodeGroup:
        contexts = batch.contexts[rows]
        width = -(-int(contexts.max()) // self._arena.block_tokens)
        pages = self._arena.page_rows(torch.from_numpy(batch.tables[rows, :width]))
        hidden = np.arange(width * self._arena.block_tokens) >= contexts[:, None]
        mask = torch.zeros(hidden.shape, dtype=self.products)
        mask.masked_fill_(torch.from_numpy(hidden), float("-inf"))
        mask = mask.repeat_interleave(self._arena.kv_heads, 0).unsqueeze(1)
        return _DecodeGroup(_index(batch.first[rows]), len(rows), pages.view(-1), int(contexts.max()), mask)

    def _chunk(self, batch: FlatBatch, row: int) -> _Chunk:
        first, count, start = int(batch.first[row]), int(batch.counts[row]), int(batch.starts[row])
        width = -(-(start + count) // self._arena.block_tokens)
        pages = self._arena.page_rows(torch.from_numpy(batch.tables[row : row + 1, :width])).view(-1)
        keys = width * self._arena.block_tokens
        positions, tree = batch.positions[first : first + count], batch.trees.get(row)
        hidden = np.arange(keys) > positions[:, None]
        paths = [tree.path_to(node) for node in range(len(tree))] if tree is not None else []
        if paths and not self.exact:
            hidden[-len(paths) :], paths = _hidden_in_tree(paths, start + count - len(paths), keys), []
        mask = torch.zeros(count, keys, dtype=self.products)
        mask.masked_fill_(torch.from_numpy(hidden), float("-inf"))
        return _Chunk(first, first + count, positions.tolist(), pages, mask, tuple(paths))


@dataclass(frozen=True, slots=True)
class _CPUPrepared(Unfused):
    """The indices of one iteration."""

    backend: CPUAttention
    places: torch.Tensor
    groups: tuple[_DecodeGroup, ...]
    chunks: tuple[_Chunk, ...]

    @property
    def kv_heads(self) -> int:
        return self.backend.kv_heads

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        self.backend.store(layer, self.places, key, value)
        if len(self.groups) == 1 and not self.chunks:
            return self._decode(layer, self.groups[0], query)
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        for group in self.groups:
            out[group.tokens] = self._decode(layer, group, query)
        for chunk in self.chunks:
            out[chunk.first : chunk.end] = self._prefill(layer, chunk, query)
        return out

    def _decode(self, layer: int, group: _DecodeGroup, query: torch.Tensor) -> torch.Tensor:
        keys, values = self.backend.gather(layer, group.pages, group.rows)
        heads = query[group.tokens].reshape(group.rows * keys.shape[1], -1, keys.shape[-1]).to(keys.dtype)
        if group.rows == 1 and group.context <= _SHORT_CONTEXT and not self.backend.exact:
            keys, values = keys[:, :, : group.context], values[:, :, : group.context]
            out = functional.scaled_dot_product_attention(heads[None], keys, values)
        else:
            out = _attend_by_products(heads, keys.flatten(0, 1), values.flatten(0, 1), group.mask)
        return out.reshape(group.rows, *query.shape[1:]).to(query.dtype)

    def _prefill(self, layer: int, chunk: _Chunk, query: torch.Tensor) -> torch.Tensor:
        keys, values = self.backend.gather(layer, chunk.pages, 1)
        heads = query[chunk.first : chunk.end].to(keys.dtype)
        if self.backend.exact:
            return _attend_one_by_one(heads, keys[0], values[0], chunk, self.backend.block_tokens)
        if keys.dtype is torch.float32:
            return _attend_fused(heads, keys, values, chunk.mask)
        return _attend_in_tiles(heads.transpose(0, 1)[None], keys, values, chunk.mask)[0].transpose(0, 1)


def _attend_one_by_one(
    heads: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, chunk: _Chunk, block_tokens: int
) -> torch.Tensor:
    """Attend heads [tokens, heads, head_dim] as decodes, each over the whole blocks of its own context.

    For a token in a tree, what it follows is put behind the text, in `keys` and `values` (which are copies), as it
    would lie there had it been decoded.
    """
    out = torch.empty_like(heads, memory_format=torch.contiguous_format)
    text = chunk.positions[0] + len(heads) - len(chunk.paths)
    nodes = [both[:, text : text + len(chunk.paths)].clone() for both in (keys, values)]
    for token, query in enumerate(heads):
        if (node := token - len(heads) + len(chunk.paths)) >= 0:
            path = chunk.paths[node]
            for both, ours in zip((keys, values), nodes, strict=True):
                both[:, text : text + len(path)] = ours[:, path]
        width = -(-(chunk.positions[token] + 1) // block_tokens) * block_tokens
        rows, mask = query.reshape(keys.shape[0], -1, keys.shape[-1]), chunk.mask[token, :width].view(1, 1, -1)
        out[token] = _attend_by_products(rows, keys[:, :width], values[:, :width], mask).view(query.shape)
    return out


def _attend_fused(heads: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attend heads [tokens, heads, head_dim] with torch's fused attention, which never has all scores in memory."""
    queries = heads.transpose(0, 1)[None]
    out = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, enable_gqa=True)
    return out[0].transpose(0, 1)


def _hidden_in_tree(paths: list[list[int]], text: int, keys: int) -> NDArray[np.bool_]:
    """Return [nodes, keys], true for the places that a node of the tree behind `text` tokens does not attend to."""
    hidden = np.broadcast_to(np.arange(keys) >= text, (len(paths), keys)).copy()
    for node, path in enumerate(paths):
        hidden[node, text + np.array(path)] = False
    return hidden


def _attend_in_tiles(heads: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attend heads [1, heads, tokens, head_dim] in tiles of tokens, so that the scores stay near the cache."""
    kv_heads, context = keys.shape[1], keys.shape[2]
    tile = max(_TILE_SCORES // (heads.shape[1] * context), 16)
    tiles = []
    for part, part_mask in zip(torch.split(heads, tile, dim=2), torch.split(mask, tile), strict=True):
        rows = part.reshape(kv_heads, -1, part.shape[-1])
        group_mask = part_mask.repeat(heads.shape[1] // kv_heads, 1)
        tiles.append(_attend_by_products(rows, keys[0], values[0], group_mask).view(part.shape))
    return torch.cat(tiles, dim=2)


def _attend_by_products(
    rows: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Attend rows [batch, rows, head_dim] over keys and values [batch, context, head_dim]; `mask` is added to the
    scores [batch, rows, context]."""
    scores = torch.baddbmm(mask, rows, keys.transpose(1, 2), alpha=rows.shape[-1] ** -0.5)
    return torch.bmm(torch.softmax(scores, dim=-1), values)


def _index(tokens: Ints) -> torch.Tensor | slice:
    """Return ascending `tokens` as an index, as a slice where they follow each other: a slice copies nothing."""
    first, last = int(tokens[0]), int(tokens[-1])
    return slice(first, last + 1) if last - first + 1 == len(tokens) else torch.from_numpy(tokens)


def _similar_lengths(batch: FlatBatch, block_tokens: int) -> list[Ints]:
    """Split the decodes into groups of similar block counts, longest first, with at most a quarter of padding."""
    blocks = -(-batch.contexts[: batch.decodes] // block_tokens)
    order = np.argsort(-blocks, kind="stable")
    groups: list[Ints] = []
    begin, used = 0, 0
    for end, row in enumerate(order):
        width, used = int(blocks[order[begin]]), used + int(blocks[row])
        if width * (end - begin + 1) > used * _MAX_PADDING:
            groups.append(np.sort(order[begin:end]))
            begin, used = end, int(blocks[row])
    return [*groups, np.sort(order[begin:])] if len(order) else []
