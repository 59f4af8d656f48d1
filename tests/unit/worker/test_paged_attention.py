"""Paged attention equals dense attention, and never reads what is not the request's own."""

import numpy as np
import pytest
import torch
from engine_testing import rows_plan
from torch.nn import functional

from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.batch import flatten
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.config import ModelConfig

LAYERS, HEADS, DIM = 2, 6, 8


def _arena(kv_heads: int, blocks: int, block_tokens: int, dtype: torch.dtype = torch.float32) -> KVArena:
    config = ModelConfig(9, 48, 8, LAYERS, HEADS, kv_heads, DIM, 1e-5, 1e4, 999, True)
    return KVArena.allocate(config, blocks, block_tokens, dtype)


def _dense(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, start: int) -> torch.Tensor:
    """query [tokens, heads, dim] at `start`, keys and values [context, kv_heads, dim]."""
    mask = torch.ones(len(query), len(keys), dtype=torch.bool).tril(start)
    parts = (query.transpose(0, 1), keys.transpose(0, 1), values.transpose(0, 1))
    out = functional.scaled_dot_product_attention(*(part[None] for part in parts), attn_mask=mask, enable_gqa=True)
    return out[0].transpose(0, 1)


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize("block_tokens", [1, 3, 16])
def test_ragged_batches_equal_dense_attention(kv_heads, block_tokens):
    torch.manual_seed(kv_heads * 100 + block_tokens)
    contexts = [1, 2, 5, 31, 40, 7, 64]
    decodes = 5
    table = _shuffled_table(contexts, block_tokens)
    arena = _arena(kv_heads, int(table.max()) + 1, block_tokens)
    backend = CPUAttention(arena)
    whole = [[torch.randn(length, kv_heads, DIM) for length in contexts] for _ in range(2 * LAYERS)]
    first = [length - 1 if row < decodes else length // 2 for row, length in enumerate(contexts)]
    _fill(backend, table, block_tokens, whole, first)
    rows = [(row, first[row], contexts[row] - first[row], True) for row in range(len(contexts))]
    batch = flatten(rows_plan(rows), table, block_tokens)
    prepared = backend.prepare(batch)
    order = rows_plan(rows).slots.tolist()
    for layer in range(LAYERS):
        keys, values = whole[2 * layer], whole[2 * layer + 1]
        queries = {row: torch.randn(contexts[row] - first[row], HEADS, DIM) for row in order}
        new = [torch.cat([part[row][first[row] :] for row in order]) for part in (keys, values)]
        out = prepared.attend(layer, torch.cat([queries[row] for row in order]), *new)
        expected = [_dense(queries[row], keys[row], values[row], first[row]) for row in order]
        torch.testing.assert_close(out, torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_others_not_finite_pages_do_not_matter():
    arena = _arena(2, 8, 4)
    arena.pages[2:] = float("nan")
    table = np.array([[0, 2], [1, 3]])
    backend = CPUAttention(arena)
    plan = rows_plan([(0, 0, 1, True), (1, 2, 1, True)])
    prepared = backend.prepare(flatten(plan, table, 4))
    out = prepared.attend(0, *(torch.randn(2, heads, DIM) for heads in (HEADS, 2, 2)))
    assert torch.isfinite(out).all()


def _shuffled_table(contexts: list[int], block_tokens: int) -> np.ndarray:
    width = -(-max(contexts) // block_tokens)
    return np.random.default_rng(0).permutation(len(contexts) * width).reshape(len(contexts), width)


def _fill(backend: CPUAttention, table: np.ndarray, block_tokens: int, whole: list, first: list[int]) -> None:
    """Store what precedes each row's new tokens, one request at a time."""
    for row, start in enumerate(first):
        if not start:
            continue
        prepared = backend.prepare(flatten(rows_plan([(row, 0, start, False)]), table, block_tokens))
        for layer in range(LAYERS):
            keys, values = (part[row][:start] for part in whole[2 * layer : 2 * layer + 2])
            prepared.attend(layer, torch.randn(start, HEADS, DIM), keys, values)
