"""Cuts the work of a CPU's attention kernel into tiles, and these into equal parts for its threads."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tierline_worker.attention.cpu_attend import Rows
from tierline_worker.batch import FlatBatch

Ints = NDArray[np.int64]

_MOST_TOKENS = 32
_WORTH_A_THREAD = 1 << 11


@dataclass(frozen=True, slots=True)
class Tiles:
    """`attend`'s description of a batch.

    `tokens` is the most that a tile has; `parts` are the bounds of equal parts of the work, one for each thread.
    """

    rows: Rows
    tiles: Ints
    tokens: int
    parts: tuple[tuple[int, int], ...]


def cut(batch: FlatBatch, kv_heads: int, threads: int) -> Tiles:
    """Return the tiles of a batch, and as many parts as `threads`, at most."""
    lengths = batch.positions + 1
    chains = batch.counts.copy()
    for row, tree in batch.trees.items():
        chains[row] -= len(tree)
    tiles = _chains(batch, chains)
    texts, paths = np.zeros(0, np.int64), np.zeros((0, 1), np.int64)
    if batch.trees:
        of_trees, texts, paths = _branches(batch)
        tiles = np.concatenate((tiles, of_trees))
    tokens = int(tiles[:, 2].max(initial=1))
    return Tiles(Rows(batch.tables, lengths, texts, paths), tiles, tokens, _parts(tiles, lengths, kv_heads, threads))


def _chains(batch: FlatBatch, counts: Ints) -> Ints:
    """Return tiles [n, 4] of each row's first `counts` tokens."""
    pieces = -(-counts // _MOST_TOKENS)
    row = np.repeat(np.arange(len(counts)), pieces)
    begin = (np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * _MOST_TOKENS
    count = np.minimum(_MOST_TOKENS, counts[row] - begin)
    return np.stack((row, batch.first[row] + begin, count, np.full(len(row), -1)), axis=1)


def _branches(batch: FlatBatch) -> tuple[Ints, Ints, Ints]:
    """Return a tile for each token of the batch's trees, and its text and path."""
    tiles, texts, paths = list[tuple[int, int, int, int]](), list[int](), list[list[int]]()
    for row, tree in batch.trees.items():
        text = int(batch.contexts[row]) - len(tree)
        for node in range(len(tree)):
            tiles.append((row, int(batch.last[row]) + 1 - len(tree) + node, 1, len(paths)))
            texts.append(text)
            paths.append(tree.path_to(node))
    padded = np.zeros((len(paths), max(map(len, paths))), np.int64)
    for index, path in enumerate(paths):
        padded[index, : len(path)] = path
    return np.array(tiles), np.array(texts), padded


def _parts(tiles: Ints, lengths: Ints, kv_heads: int, threads: int) -> tuple[tuple[int, int], ...]:
    """Return bounds of parts that each attend to as many keys, no more than pay for waking a thread."""
    work = np.repeat(tiles[:, 2] * lengths[tiles[:, 1]], kv_heads).cumsum()
    if not len(work):
        return ()
    count = min(threads, 1 + int(work[-1]) // _WORTH_A_THREAD)
    bounds = np.searchsorted(work, work[-1] * np.arange(1, count) / count).tolist()
    return tuple((first, last) for first, last in pairwise([0, *bounds, len(work)]) if first < last)
