"""Attention of one decode step over all layers: the kernel that reads pages in place, and products over gathered pages.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python bench/cpu_attention.py [threads]

Layers have the sizes of SmolLM2-135M, blocks are scattered. The two take turns; medians, and the ratio of each pair.
Below them the same for chunks of a prompt, whose other way is a gathered copy in float32 and torch's fused attention.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from tierline_worker.attention.backend import Turn
from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.attention.cpu_tiles import cut
from tierline_worker.batch import FlatBatch
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.config import ModelConfig
from tierline_worker.model.rope import Rope

CONFIG = ModelConfig(49152, 576, 1536, 30, 9, 3, 64, 1e-5, 1e4, 8192, True)
BLOCK, TURNS = 16, 9
DECODES = [(batch, context) for batch in (1, 16, 32) for context in (128, 400, 2000)]
CHUNKS = [(tokens, context) for tokens in (4, 16, 64, 256) for context in (400, 2000, 7000)]


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    for dtype in (torch.bfloat16, torch.float32):
        for batch, context in DECODES:
            _report(f"{dtype} {batch} x {context}", _decodes(dtype, batch, context))
    for tokens, context in CHUNKS:
        _report(f"chunk of {tokens} behind {context - tokens}", _chunk(tokens, context))


def _report(what: str, seconds: list[tuple[float, float]]) -> None:
    kernel, gathered = (1e3 * statistics.median(column) for column in zip(*seconds, strict=True))
    ratio = statistics.median(ours / theirs for ours, theirs in seconds)
    print(f"{what}: kernel {kernel:.2f} ms, gathered {gathered:.2f} ms, ratio {ratio:.2f}", flush=True)


def _batch(rows: int, context: int, tokens: int = 1) -> FlatBatch:
    width = -(-context // BLOCK)
    tables = np.random.default_rng(0).permutation(rows * width).reshape(rows, width)
    starts, row = np.full(rows, context - tokens), np.repeat(np.arange(rows), tokens)
    positions = starts[row] + np.tile(np.arange(tokens), rows)
    counts, blocks = np.full(rows, tokens), tables[row, positions // BLOCK]
    first, offsets = np.arange(rows) * tokens, positions % BLOCK
    return FlatBatch(row, positions, blocks, offsets, starts, counts, first, tables, rows if tokens == 1 else 0)


def _arena(rows: int, context: int, dtype: torch.dtype) -> KVArena:
    arena = KVArena.allocate(CONFIG, rows * -(-context // BLOCK), BLOCK, dtype)
    arena.pages.copy_(torch.randn(arena.pages.shape[1:]))
    return arena


def _decodes(dtype: torch.dtype, rows: int, context: int) -> list[tuple[float, float]]:
    arena, batch = _arena(rows, context, dtype), _batch(rows, context)
    prepared = CPUAttention(arena).prepare(batch)
    projected = torch.randn(rows, CONFIG.heads + 2 * CONFIG.kv_heads, CONFIG.head_dim)
    turn = Turn(Rope(torch.ones(rows, 1, CONFIG.head_dim), torch.zeros(rows, 1, CONFIG.head_dim)), 1e-5)
    pages = arena.page_rows(torch.from_numpy(batch.tables)).view(-1)
    buffer = torch.empty(pages.numel(), arena.head_pages(0).shape[1])

    def kernel() -> None:
        for layer in range(CONFIG.layers):
            prepared.attend_heads(layer, projected, turn, None)

    def gathered() -> None:
        for layer in range(CONFIG.layers):
            torch.index_select(arena.head_pages(layer), 0, pages, out=buffer)
            numbers = buffer.view(dtype).float().view(2, rows * CONFIG.kv_heads, -1, CONFIG.head_dim)
            heads = projected[:, : CONFIG.heads].reshape(rows * CONFIG.kv_heads, -1, CONFIG.head_dim)
            scores = torch.bmm(heads, numbers[0].transpose(1, 2)) * CONFIG.head_dim**-0.5
            torch.bmm(torch.softmax(scores, dim=-1), numbers[1])

    return [(_seconds(kernel), _seconds(gathered)) for _ in range(TURNS)]


def _chunk(tokens: int, context: int) -> list[tuple[float, float]]:
    arena, batch = _arena(1, context, torch.bfloat16), _batch(1, context, tokens)
    attention, tiles = CPUAttention(arena), cut(batch, CONFIG.kv_heads, torch.get_num_threads())
    query = torch.randn(tokens, CONFIG.heads, CONFIG.head_dim)
    out = torch.empty_like(query)
    pages = arena.page_rows(torch.from_numpy(batch.tables)).view(-1)
    buffer = torch.empty(pages.numel(), arena.head_pages(0).shape[1])
    keys = pages.numel() * BLOCK // (2 * CONFIG.kv_heads)
    hidden = torch.from_numpy(np.arange(keys) > batch.positions[:, None])
    mask = torch.zeros(tokens, keys).masked_fill_(hidden, float("-inf"))

    def kernel() -> None:
        for layer in range(CONFIG.layers):
            attention.attend_tiles(layer, tiles, query, out)

    def gathered() -> None:
        for layer in range(CONFIG.layers):
            torch.index_select(arena.head_pages(layer), 0, pages, out=buffer)
            numbers = buffer.view(torch.bfloat16).float().view(2, 1, CONFIG.kv_heads, -1, CONFIG.head_dim)
            heads = query.transpose(0, 1)[None]
            functional.scaled_dot_product_attention(heads, numbers[0], numbers[1], attn_mask=mask, enable_gqa=True)

    return [(_seconds(kernel), _seconds(gathered)) for _ in range(TURNS)]


def _seconds(work: Callable[[], None]) -> float:
    with torch.inference_mode():
        began_s = time.perf_counter()
        work()
        return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
