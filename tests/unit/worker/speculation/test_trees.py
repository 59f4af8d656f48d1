"""Trees of tokens: how they are merged, and that what is accepted of them leaves the KV that decoding would have."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from engine_testing import Bench, rows_plan
from msgspec.structs import replace

from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.executor import Executor
from tierline_worker.model.load import load_model
from tierline_worker.speculation.drafter import DraftRows
from tierline_worker.speculation.speculation import Speculation
from tierline_worker.speculation.tree import ROOT, TokenTree, merge

PROMPT = [int(token) for token in np.random.default_rng(2).integers(5, 250, 21)]
NEW, DRAFTS, BLOCK = 20, 5, 4


def test_what_begins_alike_is_one_branch() -> None:
    tree = merge([(1, 2, 3, 4), (1, 2, 9, 9)], 5)
    assert (tree.tokens, tree.parents) == ((1, 2, 3, 4, 9), (ROOT, 0, 1, 2, 1))
    assert tree.depths.tolist() == [1, 2, 3, 4, 3]
    assert tree.path_to(4) == [0, 1, 4]


def test_a_second_guess_takes_the_place_of_the_last_token_of_the_first() -> None:
    tree = merge([(1, 2, 3, 4), (5, 6)], 4)
    assert (tree.tokens, tree.parents) == ((1, 2, 3, 5), (ROOT, 0, 1, ROOT))


@pytest.mark.parametrize("chains", [[(1, 2, 3)], [(1, 2, 3), (1, 2)], [(1, 2, 3), (1, 2, 3)]])
def test_continuations_that_agree_are_a_chain(chains) -> None:
    assert merge(chains, 4) == TokenTree.chain((1, 2, 3))
    assert not merge(chains, 4).branches


def test_a_tree_has_at_most_as_many_tokens_as_planned() -> None:
    chains = [(1, 2, 3, 4), (5,), (6,), (1, 7)]
    for most in range(6):
        assert len(merge(chains, most)) == min(most, 6)
    assert merge([], 4) == TokenTree()


def test_a_longer_second_continuation_goes_on_where_the_first_ends() -> None:
    assert merge([(1, 2), (1, 2, 3)], 4) == TokenTree.chain((1, 2, 3))


class Scattered:
    """Hides the right continuation among wrong ones, each time elsewhere."""

    def __init__(self, right: Sequence[int]) -> None:
        self.right = right

    def forget(self, slot: int) -> None: ...

    def propose(self, rows: DraftRows) -> list[list[Sequence[int]]]:
        done = int(rows.lengths[0]) - len(PROMPT)
        right = self.right[done : done + DRAFTS]
        wrong = [(token + 1) % 250 for token in right]
        place = done % DRAFTS
        return [[(*right[:place], *wrong[place:]), right, (*right[:1], *wrong[1:])]]


def generated(path, dtype: torch.dtype, right: Sequence[int] | None) -> tuple[list[int], torch.Tensor, int]:
    """Return the new tokens, the KV of the whole text, and the number of iterations."""
    bench = Bench.load(path, dtype, blocks=64, block_tokens=BLOCK)
    bench.admit(0, PROMPT, NEW + DRAFTS)
    speculation = Speculation(Scattered(right), bench.arena, branching=True) if right else None
    attention = CPUAttention(bench.arena)
    executor = Executor(load_model(path, dtype), attention, bench.slots, BLOCK, speculation=speculation)
    given = list(executor.compute(rows_plan([(0, 0, len(PROMPT), True)])).given(0))
    iterations = 0
    while len(given) < NEW:
        known = len(PROMPT) + len(given)
        drafts = min(DRAFTS, NEW - len(given) - 1) if right else 0
        plan = rows_plan([(0, known - 1, 1 + drafts, True)])
        given += executor.compute(replace(plan, drafts=np.array([drafts], np.int32))).given(0)
        iterations += 1
    tokens = len(PROMPT) + NEW - 1
    blocks = torch.from_numpy(bench.slots.blocks[0, : -(-tokens // BLOCK)])
    pages = bench.arena.pages[blocks].permute(1, 2, 3, 0, 4, 5).flatten(3, 4)
    return given, pages[..., :tokens, :].clone(), iterations


def test_in_float32_accepted_branches_leave_the_bits_of_decoding(tiny_path) -> None:
    decoded, bits, steps = generated(tiny_path, torch.float32, None)
    given, verified, iterations = generated(tiny_path, torch.float32, decoded)
    assert given == decoded
    assert torch.equal(verified, bits)
    assert iterations < 0.6 * steps


def test_in_bfloat16_they_are_as_near_as_rounding(tiny_path) -> None:
    decoded, near, _ = generated(tiny_path, torch.bfloat16, None)
    given, verified, _ = generated(tiny_path, torch.bfloat16, decoded)
    same = next((at for at, pair in enumerate(zip(given, decoded, strict=True)) if pair[0] != pair[1]), NEW)
    assert same >= 8
    tokens = len(PROMPT) + same - 1
    assert torch.allclose(verified[..., :tokens, :].float(), near[..., :tokens, :].float(), atol=0.25, rtol=0.1)
