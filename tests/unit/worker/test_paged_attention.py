"""Paged attention equals dense attention, and never reads what is not the request's own."""

import numpy as np
import pytest
import torch
from engine_testing import rows_plan
from torch.nn import functional

from tierline_worker.attention.backend import PreparedAttention, Turn
from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.attention.kv_bits import KINDS, narrowed, widen
from tierline_worker.batch import flatten
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.config import ModelConfig
from tierline_worker.model.residual import add_and_norm
from tierline_worker.model.rope import Rope

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
        out = _attended(prepared, layer, torch.cat([queries[row] for row in order]), *new)
        expected = [_dense(queries[row], keys[row], values[row], first[row]) for row in order]
        torch.testing.assert_close(out, torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_others_not_finite_pages_do_not_matter():
    arena = _arena(2, 8, 4)
    arena.pages[2:] = float("nan")
    table = np.array([[0, 2], [1, 3]])
    backend = CPUAttention(arena)
    plan = rows_plan([(0, 0, 1, True), (1, 2, 1, True)])
    prepared = backend.prepare(flatten(plan, table, 4))
    out = _attended(prepared, 0, *(torch.randn(2, heads, DIM) for heads in (HEADS, 2, 2)))
    assert torch.isfinite(out).all()


def _attended(
    prepared: PreparedAttention, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """Attend with heads that are not rotated."""
    still = Rope(torch.ones(len(query), 1, DIM), torch.zeros(len(query), 1, DIM))
    return prepared.attend_heads(layer, torch.cat((query, key, value), dim=1), Turn(still, 1e-5), None)


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
            _attended(prepared, layer, torch.randn(start, HEADS, DIM), keys, values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_pages_hold_what_torch_would_round_to(dtype):
    arena, backend = _stored(dtype, torch.randn(8, 2, DIM) * 100)
    keys, values = arena.pages[[0, 1], 0].permute(1, 0, 3, 2, 4).flatten(1, 2)
    assert torch.equal(keys, backend.to(dtype))
    assert torch.equal(values, backend.to(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_bits_of_16_survive_widening_and_narrowing(dtype):
    bits = torch.arange(65_536).to(torch.int16)
    numbers = bits.view(dtype).float()
    wide = np.empty(65_536, np.uint32)
    widen(bits.numpy().view(np.uint16), KINDS[dtype], wide)
    assert torch.equal(torch.from_numpy(wide.view(np.float32)).nan_to_num(7.0), numbers.nan_to_num(7.0))
    between = torch.cat((numbers * 1.001, torch.randn(1000) * 1e-6, torch.tensor([65_519.0, 65_520.0, 1e-8])))
    narrow = [int(narrowed(np.float32(number), KINDS[dtype])) for number in between.tolist()[::7]]
    given = torch.tensor(narrow, dtype=torch.int32).to(torch.int16).view(dtype)
    assert torch.equal(given.nan_to_num(7.0), between[::7].to(dtype).nan_to_num(7.0))


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_no_number_comes_out_as_none(poison):
    """Or the request at fault would not be found."""
    arena, _ = _stored(torch.float32, torch.randn(8, 2, DIM))
    arena.pages[0, 0, 0, 1, 2, 3] = poison
    prepared = CPUAttention(arena).prepare(flatten(rows_plan([(0, 8, 1, True)]), np.array([[0, 1, 2]]), 4))
    out = _attended(prepared, 0, *(torch.randn(1, heads, DIM) for heads in (HEADS, 2, 2)))
    assert out[:, :3].isfinite().all()
    assert out[:, 3:].isnan().all()


def test_threads_do_not_change_bits():
    outs = []
    for threads in (1, 2, 3):
        torch.manual_seed(1)
        torch.set_num_threads(threads)
        arena = _arena(2, 600, 4)
        arena.pages.copy_(torch.randn(arena.pages.shape))
        table = np.arange(600).reshape(3, 200)
        prepared = CPUAttention(arena).prepare(
            flatten(rows_plan([(row, 796 + row, 1, True) for row in range(3)]), table, 4)
        )
        assert len(prepared.tiles.parts) == threads
        outs.append(_attended(prepared, 0, *(torch.randn(3, heads, DIM) for heads in (HEADS, 2, 2))))
    torch.set_num_threads(1)
    assert torch.equal(outs[0], outs[1])
    assert torch.equal(outs[0], outs[2])


def test_sums_are_normed_as_torch_norms_them():
    hidden, added, weight = torch.randn(5, 48), torch.randn(5, 48), torch.randn(48)
    expected = functional.rms_norm(hidden + added, (48,), weight, 1e-5)
    before = hidden.clone()
    torch.testing.assert_close(add_and_norm(hidden, added, weight, 1e-5), expected)
    assert torch.equal(hidden, before + added)


def _stored(dtype: torch.dtype, numbers: torch.Tensor) -> tuple[KVArena, torch.Tensor]:
    """Return an arena that holds `numbers` [8, 2, DIM] as keys and values of two blocks, and the numbers."""
    arena = _arena(2, 4, 4, dtype)
    prepared = CPUAttention(arena).prepare(flatten(rows_plan([(0, 0, 8, False)]), np.array([[0, 1]]), 4))
    _attended(prepared, 0, torch.randn(8, HEADS, DIM), numbers, numbers)
    return arena, numbers
