"""Rows that verify drafts: what they compute, and which of the drafts the model itself would have sampled.

A row's last certain token and its drafts are computed at once. At each of them the model samples with the key of that
position, as it would if the tokens before were the text. From the text on, a draft is accepted when it is the sampled
token; the first sample that was not proposed is the row's last new token. So a row gives exactly what it would have
given one by one, greedy or sampled (design of the worker: randomness is keyed by seed and position).

In a tree, a token's position is its depth, its place in the cache its number. What is accepted of it is moved to the
places of its positions, key and value as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tierline.scheduling.plans import BatchPlan
from tierline_worker.batch import FlatBatch
from tierline_worker.speculation.drafter import Drafter, DraftRows
from tierline_worker.speculation.tree import ROOT, TokenTree, merge


@dataclass(frozen=True, slots=True)
class Verified:
    """What one row gave: its new tokens in order, whether the last one ends the request, and the accepted nodes.

    `first_head` is the row's first place among those that were sampled behind.
    """

    tokens: tuple[int, ...]
    stopped: bool
    path: tuple[int, ...]
    first_head: int

    @property
    def heads(self) -> list[int]:
        """Behind which sampled place each token was drawn."""
        return [self.first_head + 1 + node for node in (ROOT, *self.path)][: len(self.tokens)]

    @property
    def moves(self) -> list[tuple[int, int]]:
        """Pairs (from, to) of places behind the last certain token, for accepted nodes that lie elsewhere."""
        return [(node, place) for place, node in enumerate(self.path) if node != place]


@dataclass(frozen=True, slots=True)
class Work:
    """What is computed of a plan. `plan` has the rows in the order of computing, with the drafts there are; row i of it
    is row `order[i]` of the planned one. `trees` are the proposals by row of `plan`."""

    plan: BatchPlan
    order: NDArray[np.int64]
    trees: Mapping[int, TokenTree]

    @property
    def branching(self) -> dict[int, TokenTree]:
        """The proposals that are no chains."""
        return {row: tree for row, tree in self.trees.items() if tree.branches}

    def certain_end(self, row: int) -> int:
        """Return the position behind the last certain token of a row."""
        return int(self.plan.starts[row] + self.plan.counts[row] - self.plan.drafts[row])

    def heads(self, batch: FlatBatch) -> NDArray[np.int64]:
        """Return the flat tokens to sample behind: of each sampling row the last certain one and its drafts."""
        rows = np.flatnonzero(self.plan.samples)
        drafts = self.plan.drafts[rows].astype(np.int64)
        ends = np.cumsum(drafts + 1)
        within = np.arange(ends[-1]) - np.repeat(ends - drafts - 1, drafts + 1)
        heads: NDArray[np.int64] = np.repeat(batch.last[rows] - drafts, drafts + 1) + within
        return heads

    def token_ids(self, batch: FlatBatch, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the flat token ids: those of the texts `tokens` [slots, length], and the drafts."""
        flat: NDArray[np.int64] = tokens[batch.slots, batch.positions]
        for row, tree in self.trees.items():
            end = int(batch.last[row]) + 1
            flat[end - len(tree) : end] = tree.tokens
        return flat

    def verify(self, sampled: NDArray[np.int64], stops: NDArray[np.bool_]) -> dict[int, Verified]:
        """Return what each sampling row gave; `sampled` and `stops` are by head."""
        verified, first = dict[int, Verified](), 0
        for row in np.flatnonzero(self.plan.samples).tolist():
            tree = self.trees.get(row, _NOTHING)
            end = first + 1 + len(tree)
            verified[row] = _walk(tree, sampled[first:end].tolist(), stops[first:end].tolist(), first)
            first = end
        return verified


_NOTHING = TokenTree()


def with_proposals(plan: BatchPlan, drafter: Drafter, tokens: NDArray[np.int64], branching: bool) -> Work:
    """Return the work of `plan` with what `drafter` proposes; `tokens` [slots, length] are the texts.

    A row takes as many drafts as were proposed, at most what was planned; one without any decodes a token. Without
    `branching` only the best continuation of each is taken.
    """
    rows = np.flatnonzero(plan.drafts)
    ends = (plan.starts + plan.counts - plan.drafts)[rows].astype(np.int64)
    wanted = plan.drafts[rows].astype(np.int64)
    proposals = drafter.propose(DraftRows(tokens, plan.slots[rows].astype(np.int64), ends, wanted))
    kept = [chains if branching else chains[:1] for chains in proposals]
    merged = [merge(chains, most) for chains, most in zip(kept, wanted.tolist(), strict=True)]
    drafts = np.zeros(len(plan.slots), np.int32)
    drafts[rows] = [len(tree) for tree in merged]
    trees = dict(zip(rows.tolist(), merged, strict=True))
    counts = plan.counts - plan.drafts + drafts
    order = np.argsort(counts > 1, kind="stable")
    shrunk = replace(
        plan,
        slots=plan.slots[order],
        starts=plan.starts[order],
        counts=counts[order],
        samples=plan.samples[order],
        decodes=int(np.count_nonzero(counts == 1)),
        drafts=drafts[order],
    )
    return Work(shrunk, order, {row: trees[old] for row, old in enumerate(order.tolist()) if drafts[old]})


def _walk(tree: TokenTree, sampled: Sequence[int], stops: Sequence[bool], first_head: int) -> Verified:
    """Follow the samples through `tree`: `sampled[0]` follows the text, `sampled[1 + j]` follows node j."""
    given: list[int] = []
    path: list[int] = []
    node: int | None = ROOT
    while node is not None:
        given.append(sampled[1 + node])
        if stops[1 + node]:
            return Verified(tuple(given), True, tuple(path), first_head)
        node = tree.child(node, given[-1])
        if node is not None:
            path.append(node)
    return Verified(tuple(given), False, tuple(path), first_head)
