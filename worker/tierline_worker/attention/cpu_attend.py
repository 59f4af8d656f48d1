"""Attention over paged KV on a CPU, read where it lies.

The work is cut into tiles: some tokens of one row, which read each page once. A token's sums go over its keys in
their order, whatever else is in its tile, so its bits do not tell its company nor whether it was a prompt's.
Scores are kept for the whole context, so that each is exponentiated once (two passes over the pages, unlike flash
attention's rescaling, which on this side of 100,000 tokens costs more than reading keys and values apart).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierline_worker.attention.kv_bits import widen
from tierline_worker.compiling import compiled, inlined, inlined_for_numbers

Bits = NDArray[np.uint32]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

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
    """What a thread writes to: scores [tokens of a tile * heads, keys], page [block_tokens * head_dim]."""

    scores: Floats
    page: Bits


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
        _attend_tile(pages, layer, rows, tiles[tile], heads, query, out, scratch)
        tile += 1


@inlined
def _attend_tile(
    pages: Pages,
    layer: int,
    rows: Rows,
    tile: Ints,
    heads: tuple[int, int],
    query: Floats,
    out: Floats,
    scratch: Scratch,
) -> None:
    group, size = query.shape[1] // pages.bits.shape[3], query.shape[2]
    first, last, block_tokens = tile[1], tile[1] + tile[2], pages.bits.shape[4] // size
    numbers = scratch.page.view(np.float32).reshape(-1, size)
    keys = rows.lengths[first:last].max()
    out[first:last, heads[0] * group : heads[1] * group] = np.float32(0)
    for half in range(2):
        for at in range(0, keys, block_tokens):
            for head in range(heads[0], heads[1]):
                _read(pages, (layer, half, head), rows, tile, at, min(block_tokens, keys - at), numbers)
                for token in range(first, last):
                    known = max(min(block_tokens, rows.lengths[token] - at), 0)
                    for h in range(head * group, (head + 1) * group):
                        weights = scratch.scores[(token - first) * query.shape[1] + h, at : at + known]
                        if half == 0:
                            _score(query[token, h], numbers, weights)
                        else:
                            _add_up(weights, numbers, out[token, h])
        for token in range(first, last if half == 0 else first):
            for h in range(heads[0] * group, heads[1] * group):
                _soften(scratch.scores[(token - first) * query.shape[1] + h, : rows.lengths[token]], size)


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
def _score(query: Floats, keys: Floats, scores: Floats) -> None:
    count = len(scores)
    by_four = count - count % 4
    for j in range(0, by_four, 4):
        a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        key_a, key_b, key_c, key_d = keys[j], keys[j + 1], keys[j + 2], keys[j + 3]
        for i in range(len(query)):
            a += query[i] * key_a[i]
            b += query[i] * key_b[i]
            c += query[i] * key_c[i]
            d += query[i] * key_d[i]
        scores[j], scores[j + 1], scores[j + 2], scores[j + 3] = a, b, c, d
    for j in range(by_four, count):
        a, key_a = np.float32(0), keys[j]
        for i in range(len(query)):
            a += query[i] * key_a[i]
        scores[j] = a


@inlined
def _add_up(weights: Floats, values: Floats, out: Floats) -> None:
    count = len(weights)
    by_four = count - count % 4
    for j in range(0, by_four, 4):
        a, b, c, d = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        value_a, value_b, value_c, value_d = values[j], values[j + 1], values[j + 2], values[j + 3]
        for i in range(len(out)):
            out[i] += (a * value_a[i] + b * value_b[i]) + (c * value_c[i] + d * value_d[i])
    for j in range(by_four, count):
        a, value_a = weights[j], values[j]
        for i in range(len(out)):
            out[i] += a * value_a[i]


@inlined
def _soften(scores: Floats, size: int) -> None:
    """Turn scores into weights, NaN where a score is not finite."""
    check = np.float32(0)
    for score in scores:
        check += score
    scale = _LOG2_E / np.sqrt(np.float32(size))
    total = _exponentiate(scores, _largest(scores), scale) + check * np.float32(0)
    for i in range(len(scores)):
        scores[i] /= total


@inlined_for_numbers
def _largest(numbers: Floats) -> np.float32:
    largest = numbers[0]
    for number in numbers:
        largest = max(largest, number)
    return np.float32(largest)


@inlined_for_numbers
def _exponentiate(numbers: Floats, largest: np.float32, scale: np.float32) -> np.float32:
    """Turn each number into 2 ** (scale * (number - largest)) and return their sum."""
    total = np.float32(0)
    for i in range(len(numbers)):
        exponent = max((numbers[i] - largest) * scale, _LEAST_EXPONENT)
        whole = math.floor(exponent)
        rest = np.float32(exponent - whole)
        power = _C0 + rest * (_C1 + rest * (_C2 + rest * (_C3 + rest * (_C4 + rest * _C5))))
        doubled = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
        numbers[i] = power * doubled
        total += numbers[i]
    return np.float32(total)
