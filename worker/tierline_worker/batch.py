"""A plan's work as flat arrays: which token of which request sits at which place of the KV arena."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.plans import BatchPlan
from tierline_worker.speculation.tree import TokenTree

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FlatBatch:
    """One iteration without padding: the tokens of row 0, then those of row 1, and so on.

    Per token (int64 [tokens]): `slots`, `positions`, and its KV place `blocks`, `offsets`. Per row (int64 [rows]):
    `starts`, `counts`, `first` (index of its first token), `tables` [rows, table width] (unused entries repeat the
    row's block 0, so that padding reads the request's own memory). The first `decodes` rows have one token each.

    `trees` are the last tokens of some rows, where these are no chain: such a token is at the position of its depth,
    at the place of its number, and attends to the text before the tree and to what it follows in it.
    """

    slots: Ints
    positions: Ints
    blocks: Ints
    offsets: Ints
    starts: Ints
    counts: Ints
    first: Ints
    tables: Ints
    decodes: int
    trees: Mapping[int, TokenTree] = field(default_factory=dict)

    @property
    def contexts(self) -> Ints:
        """Tokens each row attends over, its own included."""
        return self.starts + self.counts

    @property
    def last(self) -> Ints:
        """Index of each row's last token."""
        return self.first + self.counts - 1


def flatten(plan: BatchPlan, block_table: Ints, block_tokens: int) -> FlatBatch:
    """Return the flat arrays of `plan`; `block_table` [slots, width] names the blocks of every slot."""
    starts, counts = plan.starts.astype(np.int64), plan.counts.astype(np.int64)
    ends = np.cumsum(counts)
    first = ends - counts
    rows = np.repeat(np.arange(len(counts)), counts)
    slots = plan.slots.astype(np.int64)[rows]
    positions = np.arange(len(rows)) - first[rows] + starts[rows]
    return FlatBatch(
        slots=slots,
        positions=positions,
        blocks=block_table[slots, positions // block_tokens],
        offsets=positions % block_tokens,
        starts=starts,
        counts=counts,
        first=first,
        tables=_tables(plan, block_table, block_tokens, starts + counts),
        decodes=plan.decodes,
    )


def _tables(plan: BatchPlan, block_table: Ints, block_tokens: int, contexts: Ints) -> Ints:
    used = -(-contexts // block_tokens)
    tables = block_table[plan.slots, : int(used.max(initial=0))]
    return np.where(np.arange(tables.shape[1]) < used[:, None], tables, tables[:, :1])


def with_trees(batch: FlatBatch, trees: Mapping[int, TokenTree]) -> FlatBatch:
    """Return `batch` with the last tokens of some rows at the positions of their depths in a tree."""
    positions = batch.positions.copy()
    for row, tree in trees.items():
        end = int(batch.last[row]) + 1
        positions[end - len(tree) : end] = positions[end - len(tree)] + tree.depths - 1
    return replace(batch, positions=positions, trees=trees)
