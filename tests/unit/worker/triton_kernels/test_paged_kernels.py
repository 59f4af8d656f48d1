"""The Triton attention kernels against float64, over every shape that models and settings make."""

import pytest
import torch
from paged_reference import PagedCase

from tierline_worker.attention.triton_decode import attend_decodes, segments_for
from tierline_worker.attention.triton_prefill import attend_chunks, query_block_tokens

LAYER = 1
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 2e-2, torch.float16: 3e-3}
SHAPES = [  # group, head_dim, block_tokens, dtype, segments, keys of a tile
    (1, 64, 16, torch.float32, 1, 16),
    (3, 64, 16, torch.float32, 4, 64),
    (4, 128, 32, torch.float32, 2, 16),
    (8, 128, 64, torch.float32, 1, 64),
    (3, 80, 16, torch.float32, 4, 32),
    (3, 64, 16, torch.float16, 2, 16),
    # The interpreter multiplies no bfloat16.
    pytest.param(4, 64, 64, torch.bfloat16, 4, 64, marks=pytest.mark.gpu),
    pytest.param(4, 128, 16, torch.bfloat16, 8, 64, marks=pytest.mark.gpu),
]
shapes = pytest.mark.parametrize(("group", "head_dim", "block_tokens", "dtype", "segments", "tile"), SHAPES)


def query_of(tokens: int, heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.randn((tokens, heads, head_dim), generator=torch.Generator().manual_seed(tokens)).to(device, dtype)


@shapes
def test_decodes_equal_the_definition(group, head_dim, block_tokens, dtype, segments, tile, device) -> None:
    contexts = [1, block_tokens + 1, 70]
    slots = torch.tensor([2, 0, 1], dtype=torch.int32, device=device)
    query = query_of(len(slots), 2 * group, head_dim, dtype, device)
    case = PagedCase.make(contexts, 2, head_dim, block_tokens, query)
    case.fill(LAYER)
    out = torch.empty_like(query)
    lengths = torch.tensor([contexts[slot] for slot in slots.tolist()], dtype=torch.int32, device=device)
    attend_decodes(out, query, case.pages[:, LAYER], case.table, slots, lengths, segments, tile)
    for row, slot in enumerate(slots.tolist()):
        expected = case.attended(slot, contexts[slot] - 1, query[row : row + 1])[0]
        torch.testing.assert_close(out[row].double().cpu(), expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def test_a_padded_row_gives_zeros_and_reads_nothing(device) -> None:
    case = PagedCase.make([5], 1, 16, 4, torch.empty(0, device=device))
    query, out = query_of(1, 2, 16, torch.float32, device), torch.full((1, 2, 16), float("nan"), device=device)
    zero = torch.zeros(1, dtype=torch.int32, device=device)
    attend_decodes(out, query, case.pages[:, LAYER], case.table, zero, zero, 2, 16)
    assert torch.equal(out, torch.zeros_like(out))


@shapes
def test_chunks_equal_the_definition(group, head_dim, block_tokens, dtype, segments, tile, device) -> None:
    """Chunks at the start, in the middle and at the end of a context; the first token of the batch is a decode's."""
    chunks = [(0, 0, 7), (1, 9, 12), (2, 2 * block_tokens - 1, 2)]
    case = PagedCase.make(
        [7, 21, 2 * block_tokens + 1], 2, head_dim, block_tokens, torch.empty(0, dtype=dtype, device=device)
    )
    case.fill(LAYER)
    firsts = [1, 8, 20]
    query = query_of(22, 2 * group, head_dim, dtype, device)
    slots, starts, counts = zip(*chunks, strict=True)
    rows = torch.tensor([slots, starts, counts, firsts], dtype=torch.int32, device=device)
    step = query_block_tokens(group, 16)
    tiles = torch.tensor(
        [(row, at) for row, (_, _, count) in enumerate(chunks) for at in range(0, count, step)], dtype=torch.int32
    )
    out = torch.full_like(query, 9.0)
    attend_chunks(out, query, case.pages[:, LAYER], case.table, rows, tiles, 16, tile)
    assert bool((out[0] == 9.0).all())
    for (slot, start, count), first in zip(chunks, firsts, strict=True):
        part = slice(first, first + count)
        expected = case.attended(slot, start, query[part])
        torch.testing.assert_close(out[part].double().cpu(), expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def test_few_rows_are_cut_into_more_segments() -> None:
    assert segments_for(1, 8, 132) == 32
    assert segments_for(64, 8, 132) == 1
    assert segments_for(8, 8, 132) == 8
