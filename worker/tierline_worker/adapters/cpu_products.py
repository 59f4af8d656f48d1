"""The products of many adapters on a CPU, in one call for all tokens of a projection, read where they lie.

Adapter after adapter these are some ten thousand small torch calls a decode step with 16 adapters. A token's sums go
over its inputs in their order, whoever else is in the batch, so in float32 its bits do not tell its company (ADR 12).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierline_worker.adapters.pages import Piece
from tierline_worker.adapters.projections import Projection
from tierline_worker.attention.kv_bits import widen
from tierline_worker.compiling import compiled, inlined

Bits = NDArray[np.uint32]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class AdapterTables(NamedTuple):
    """Where the matrices of adapters lie in the arena's blocks.

    ranges [adapters, layers, projections, 2]: the first piece of each and the one behind the last. pieces [n, 6]:
    block, offset, inputs and ranks of the down matrix, first part and the one behind the last. parts [m, 6]: block and
    offset of the up matrix, its first output and its outputs, its first rank and its ranks.
    """

    ranges: Ints
    pieces: Ints
    parts: Ints


def tables_of(adapters: Sequence[tuple[Sequence[Piece], NDArray[np.int32]]]) -> AdapterTables:
    """Return the tables of adapters: their pieces, and the blocks that their pages lie in."""
    layers = 1 + max((piece.layer for pieces, _ in adapters for piece in pieces), default=0)
    ranges = np.zeros((len(adapters), layers, len(Projection), 2), np.int64)
    placed, parts = list[tuple[int, ...]](), list[tuple[int, ...]]()
    for number, (pieces, blocks) in enumerate(adapters):
        for piece in sorted(pieces, key=lambda piece: (piece.layer, piece.projection)):
            place = ranges[number, piece.layer, piece.projection]
            place[:] = (place[0] if place[1] else len(placed), len(placed) + 1)
            first = len(parts)
            for part in piece.parts:
                up = part.up
                at = (int(blocks[up.page]), up.offset)
                parts.append((*at, part.first, up.shape[1], part.rank_first, up.shape[0]))
            down = piece.down
            placed.append((int(blocks[down.page]), down.offset, *down.shape, first, len(parts)))
    return AdapterTables(ranges, np.array(placed, np.int64).reshape(-1, 6), np.array(parts, np.int64).reshape(-1, 6))


@compiled
def add_adapters(
    bits: Bits, kind: int, tables: AdapterTables, of_token: Ints, place: tuple[int, int], x: Floats, out: Floats
) -> None:
    """Add to out [tokens, outputs] what each token's adapter (of_token, -1: none) makes of x [tokens, inputs].

    bits [blocks, numbers of a block] of `kind`; place: layer and projection.
    """
    scratch = np.empty(bits.shape[1], np.uint32)
    for token in range(len(x)):
        if of_token[token] >= 0:
            first, behind = tables.ranges[of_token[token], place[0], place[1]]
            for number in range(first, behind):
                piece = tables.pieces[number]
                ranks = _down(bits, kind, piece, x[token], scratch)
                for part in range(piece[4], piece[5]):
                    _up(bits, kind, tables.parts[part], ranks, scratch, out[token])


@inlined
def _down(bits: Bits, kind: int, piece: Ints, x: Floats, scratch: Bits) -> Floats:
    inputs, ranks = piece[2], piece[3]
    widen(bits[piece[0], piece[1] : piece[1] + inputs * ranks], kind, scratch)
    weight = scratch.view(np.float32)[: inputs * ranks].reshape(inputs, ranks)
    sums = np.zeros(ranks, np.float32)
    for i in range(inputs):
        for rank in range(ranks):
            sums[rank] += x[i] * weight[i, rank]
    return sums


@inlined
def _up(bits: Bits, kind: int, part: Ints, sums: Floats, scratch: Bits, out: Floats) -> None:
    outputs, ranks = part[3], part[5]
    widen(bits[part[0], part[1] : part[1] + ranks * outputs], kind, scratch)
    weight = scratch.view(np.float32)[: ranks * outputs].reshape(ranks, outputs)
    mine = out[part[2] : part[2] + outputs]
    for rank in range(ranks):
        for j in range(outputs):
            mine[j] += sums[part[4] + rank] * weight[rank, j]
