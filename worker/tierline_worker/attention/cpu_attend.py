"""Attention over paged KV on a CPU, read where it lies.

The work is cut into tiles: some tokens of one row, which read each page once. Keys are attended to in spans of `SPAN`
places, with the softmax corrected from span to span (Dao et al., FlashAttention, 2022), so no memory grows with the
context. A token's sums go over its keys in their order, and spans begin at fixed places, whatever else is in its tile:
its bits do not tell its company nor whether it was a prompt's.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierline_worker.attention.kv_bits import widen
from tierline_worker.compiling import compiled, inlined, inlined_for_numbers
from tierline_worker.vector_products import COLUMNS, multiply, transpose

Bits = NDArray[np.uint32]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

SPAN = 128
_GAP = 16
_LOG2_E = np.float32(1.4426950408889634)
_LEAST_EXPONENT = np.float32(-126.0)
# 2 ** x for x from 0 to 1, by minimax: 2e-7 at most from it.
_C0, _C1, _C2 = np.float32(0.99999994), np.float32(0.69315308), np.float32(0.24015361)
_C3, _C4, _C5 = np.float32(0.055826318), np.float32(0.0089893397), np.float32(0.0018775767)


class Pages(NamedTuple):
    """KV: bits [blocks, layers, 2, kv_heads, block_tokens * head_dim] of numbers of `kind`."""

    bits: Bits
    kind: int


class Rows(NamedTuple):
    """What is attended to: tables [rows, width]; lengths [tokens], the keys that each attends to.

    A token with a path attends to texts[path] keys in their order, then to the places behind them that paths[path]
    numbers.
    """

    tables: Ints
    lengths: Ints
    texts: Ints
    paths: Ints


class Scratch(NamedTuple):
    """What a thread writes to; a line is a head of a tile's token. Rows are longer than what they hold, lest columns
    fall onto the same lines of the cache.

    queries [lines, head_dim], scores [lines, SPAN], sums [lines, head_dim], softened [lines, 2] (each line's largest
    score and its sum of weights); keys [head_dim, SPAN], values [SPAN, head_dim], page [block_tokens * head_dim].
    """

    queries: Floats
    scores: Floats
    sums: Floats
    softened: Floats
    keys: Floats
    values: Floats
    page: Bits


def new_scratch(lines: int, block_tokens: int, size: int) -> Scratch:
    """Return what tiles of at most `lines` lines need."""
    full = -(-size // COLUMNS) * COLUMNS
    shapes = ((lines, size), (lines, SPAN), (lines, full), (lines, 2), (size, SPAN), (SPAN, full))
    queries, scores, sums, softened, keys, values = (np.zeros((n, width + _GAP), np.float32) for n, width in shapes)
    page = np.empty(block_tokens * size, np.uint32)
    return Scratch(queries, scores, sums, softened, keys, values, page)


@compiled
def attend(
    pages: Pages,
    layer: int,
    rows: Rows,
    tiles: Ints,
    part: tuple[int, int],
    query: Floats,
    out: Floats,
    scratch: Scratch,
) -> None:
    """Attend a part of the work, from the first to before the last of its pieces.

    Piece p is KV head p % kv_heads of tile p // kv_heads; tiles [n, 4]: row, first token, tokens, path (-1: none).
    query and out [tokens, heads, head_dim].
    """
    kv_heads = pages.bits.shape[3]
    tile = part[0] // kv_heads
    while tile * kv_heads < part[1]:
        heads = max(0, part[0] - tile * kv_heads), min(kv_heads, part[1] - tile * kv_heads)
        for head in range(heads[0], heads[1]):
            _attend_tile(pages, layer, rows, tiles[tile], head, query, out, scratch)
        tile += 1


@inlined
def _attend_tile(
    pages: Pages, layer: int, rows: Rows, tile: Ints, head: int, query: Floats, out: Floats, scratch: Scratch
) -> None:
    """Attend the tile's tokens with the query heads of one KV head."""
    group, size = query.shape[1] // pages.bits.shape[3], query.shape[2]
    first, lines = tile[1], tile[2] * group
    queries, scores, sums = scratch.queries, scratch.scores, scratch.sums
    scale, columns = _LOG2_E / np.sqrt(np.float32(size)), -(-size // COLUMNS) * COLUMNS
    for line in range(lines):
        asking, asked = query[first + line // group, head * group + line % group], queries[line]
        for i in range(size):
            asked[i] = asking[i] * scale
    sums[:lines] = np.float32(0)
    keys = rows.lengths[first : first + tile[2]].max()
    for at in range(0, keys, SPAN):
        count = min(SPAN, keys - at)
        _gather(pages, (layer, 0, head), rows, tile, (at, count), size, scratch)
        scores[:lines] = np.float32(0)
        multiply(queries, scratch.keys, scores, (lines, size, -(-count // COLUMNS) * COLUMNS))
        for line in range(lines):
            known = max(min(count, rows.lengths[first + line // group] - at), 0)
            if known:
                _soften(scores[line, :known], scratch.softened[line], sums[line, :size], at == 0)
            scores[line, known:] = np.float32(0)
        _gather(pages, (layer, 1, head), rows, tile, (at, count), size, scratch)
        multiply(scores, scratch.values, sums, (lines, count, columns))
    for line in range(lines):
        answer, total = out[first + line // group, head * group + line % group], scratch.softened[line, 1]
        for i in range(size):
            answer[i] = sums[line, i] / total


@inlined
def _gather(
    pages: Pages,
    where: tuple[int, int, int],
    rows: Rows,
    tile: Ints,
    span: tuple[int, int],
    size: int,
    scratch: Scratch,
) -> None:
    """Widen a span (first place, places) of the tile's keys, as columns, or of its values; where: layer, key or value,
    head."""
    numbers = scratch.page.view(np.float32).reshape(-1, size)
    for at in range(0, span[1], len(numbers)):
        count = min(len(numbers), span[1] - at)
        _read(pages, where, rows, tile, span[0] + at, count, numbers)
        if where[1] == 0:
            transpose(numbers, count, scratch.keys, at)
        else:
            for place in range(count):
                value = scratch.values[at + place]
                for i in range(size):
                    value[i] = numbers[place, i]


@inlined
def _read(
    pages: Pages, where: tuple[int, int, int], rows: Rows, tile: Ints, at: int, count: int, numbers: Floats
) -> None:
    """Widen `count` keys (or values) from the tile's `at`-th; where: layer, key or value, head."""
    size, table, path = numbers.shape[1], rows.tables[tile[0]], tile[3]
    block_tokens = pages.bits.shape[4] // size
    out = numbers.view(np.uint32).reshape(-1)
    if path < 0:
        widen(pages.bits[table[at // block_tokens], where[0], where[1], where[2], : count * size], pages.kind, out)
        return
    text = rows.texts[path]
    for j in range(count):
        place = at + j if at + j < text else text + rows.paths[path, at + j - text]
        page = pages.bits[table[place // block_tokens], where[0], where[1], where[2]]
        begin = place % block_tokens * size
        widen(page[begin : begin + size], pages.kind, out[j * size : (j + 1) * size])


@inlined
def _soften(scores: Floats, softened: Floats, sums: Floats, first: bool) -> None:
    """Turn a span's scores into weights by the largest so far; the total is NaN where a score is not finite."""
    check = np.float32(0)
    for i in range(len(scores)):
        check += scores[i]
    largest = _largest(scores)
    if first:
        softened[0], softened[1] = largest, np.float32(0)
    elif largest > softened[0]:
        shrunk = np.exp2(softened[0] - largest)
        for i in range(len(sums)):
            sums[i] *= shrunk
        softened[0], softened[1] = largest, softened[1] * shrunk
    softened[1] += _exponentiate(scores, softened[0]) + check * np.float32(0)


@inlined_for_numbers
def _largest(numbers: Floats) -> np.float32:
    largest = numbers[0]
    for number in numbers:
        largest = max(largest, number)
    return np.float32(largest)


@inlined_for_numbers
def _exponentiate(numbers: Floats, largest: np.float32) -> np.float32:
    """Turn each number into 2 ** (number - largest) and return their sum."""
    total = np.float32(0)
    for i in range(len(numbers)):
        exponent = max(numbers[i] - largest, _LEAST_EXPONENT)
        # `math.floor` gives 64 bits, which AVX2 cannot convert: the loop would stay scalar, three times as slow.
        whole = np.floor(exponent)
        rest = exponent - whole
        power = _C0 + rest * (_C1 + rest * (_C2 + rest * (_C3 + rest * (_C4 + rest * _C5))))
        doubled = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
        numbers[i] = power * doubled
        total += numbers[i]
    return np.float32(total)
