"""In float32 a token's bits do not tell how it was computed: what makes a moved stream go on exactly."""

import numpy as np
import pytest
import torch
from engine_testing import Bench, rows_plan

NEW = 24
BLOCK = 16
PROMPTS = [[int(token) for token in np.random.default_rng(length).integers(5, 250, length)] for length in (67, 9, 40)]


def stored(bench: Bench, slot: int, tokens: int) -> torch.Tensor:
    """Keys and values of all layers at the first `tokens` positions of a slot: every hidden state went into them."""
    blocks = torch.from_numpy(bench.slots.blocks[slot, : -(-tokens // BLOCK)])
    pages = bench.arena.pages[blocks].permute(1, 2, 3, 0, 4, 5)
    return pages.flatten(3, 4)[..., :tokens, :].clone()


def alone(path, chunk: int, known: int = 0) -> tuple[list[int], torch.Tensor]:
    """Generate in chunks; the first `known` new tokens are there from the beginning, as in a stream that moved."""
    bench = Bench.load(path, blocks=64, block_tokens=BLOCK)
    out = alone(path, chunk)[0][:known] if known else []
    context = [*PROMPTS[0], *out]
    bench.admit(0, context, NEW - known)
    start = 0
    while len(out) < NEW:
        count = min(chunk, len(PROMPTS[0]) + len(out) - start)
        last = start + count == len(PROMPTS[0]) + len(out)
        sampled = bench.executor.compute(rows_plan([(0, start, count, last)]))
        start += count
        if last:
            out = [*out, int(sampled.tokens[0])]
    return out, stored(bench, 0, len(PROMPTS[0]) + NEW - 1)


@pytest.fixture(scope="module")
def whole(tiny_path) -> tuple[list[int], torch.Tensor]:
    return alone(tiny_path, 1000)


@pytest.mark.parametrize("chunk", [1, 7, 16, 64])
def test_chunks_leave_no_trace(tiny_path, whole, chunk) -> None:
    ids, bits = alone(tiny_path, chunk)
    assert ids == whole[0]
    assert torch.equal(bits, whole[1])


@pytest.mark.parametrize("known", [1, 10, 23])
def test_a_stream_that_moved_leaves_no_trace(tiny_path, whole, known) -> None:
    ids, bits = alone(tiny_path, 1000, known)
    assert ids == whole[0]
    assert torch.equal(bits, whole[1])


def test_company_leaves_no_trace(tiny_path, whole) -> None:
    bench = Bench.load(tiny_path, blocks=64, block_tokens=BLOCK)
    ids = bench.generate_together(PROMPTS, NEW, seed=5)
    assert ids[0] == whole[0]
    assert torch.equal(stored(bench, 0, len(PROMPTS[0]) + NEW - 1), whole[1])
