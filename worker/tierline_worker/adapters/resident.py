"""Adapters in the arena: loaded into the pages that the scheduling core took for them, computed where they lie.

On a CPU a compiled kernel computes all adapters of a batch at once; in float32 always, since there bits must not tell
how a token was computed, in 16 bits for rows of few tokens. Long rows there, and whatever is on another device, are
torch's products, adapter after adapter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tierline_worker.adapters.applying import AppliesAdapters
from tierline_worker.adapters.cpu_products import AdapterTables, add_adapters, tables_of
from tierline_worker.adapters.pages import Matrix, PagedAdapter, Piece
from tierline_worker.adapters.products import add_product, product
from tierline_worker.adapters.projections import Projection
from tierline_worker.attention.kv_bits import KINDS, bits_of
from tierline_worker.batch import Ints

_Place = tuple[int, Projection]
_FEW_TOKENS = 8


@dataclass(frozen=True, slots=True)
class _PieceViews:
    """A piece's matrices in the arena, and where their results belong: (first output, outputs, first rank, ranks)."""

    down: torch.Tensor
    parts: tuple[tuple[slice, slice, torch.Tensor], ...]


@dataclass(frozen=True, slots=True)
class _Segment:
    """The tokens of one adapter in the flat batch."""

    tokens: slice | torch.Tensor
    pieces: Mapping[_Place, tuple[_PieceViews, ...]]


class ResidentAdapters:
    """What lies in the arena's pages. `blocks` is the arena as [blocks, numbers of a block].

    `offered` are the adapters in host memory, from where they are loaded; a key names content, never another one.
    """

    def __init__(self, blocks: torch.Tensor) -> None:
        self._blocks = blocks
        self.offered: dict[str, PagedAdapter] = {}
        self._pieces: dict[str, dict[_Place, tuple[_PieceViews, ...]]] = {}
        self._lie: dict[str, tuple[Sequence[Piece], NDArray[np.int32]]] = {}
        self._tables = tables_of(())
        self._bits = bits_of(blocks) if blocks.device.type == "cpu" else None

    def load(self, key: str, blocks: NDArray[np.int32]) -> None:
        """Copy an offered adapter into `blocks`; from then on it is computed from there."""
        adapter = self.offered[key]
        device = self._blocks.device
        self._blocks.index_copy_(0, torch.from_numpy(blocks.astype(np.int64)).to(device), adapter.pages.to(device))
        pieces: dict[_Place, list[_PieceViews]] = {}
        for piece in adapter.pieces:
            parts = tuple(
                (
                    slice(part.first, part.first + part.up.shape[1]),
                    slice(part.rank_first, part.rank_first + part.up.shape[0]),
                    self._view(part.up, blocks),
                )
                for part in piece.parts
            )
            views = _PieceViews(self._view(piece.down, blocks), parts)
            pieces.setdefault((piece.layer, piece.projection), []).append(views)
        self._pieces[key] = {place: tuple(views) for place, views in pieces.items()}
        self._lie[key] = (adapter.pieces, blocks)
        self._tables = tables_of(tuple(self._lie.values()))

    def batch(self, first: Ints, last: Ints, keys: Sequence[str]) -> AppliesAdapters | None:
        """Return what applies the adapters `keys` of a batch's rows ("" is none), None when no row has one.

        `first` and `last` [rows] are the flat indices of each row's tokens.
        """
        if not self._pieces:
            return None
        rows_of: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            if key:
                rows_of.setdefault(key, []).append(row)
        if not rows_of:
            return None
        short = {
            key: [row for row in rows if self._compiles(last[row] - first[row] + 1)] for key, rows in rows_of.items()
        }
        segments = [
            _Segment(self._tokens(first, last, rest), self._pieces[key])
            for key, rows in rows_of.items()
            if (rest := [row for row in rows if row not in short[key]])
        ]
        by_torch = _AdapterByAdapter(segments)
        return self._compiled(first, last, short, by_torch) if any(short.values()) else by_torch

    def _compiles(self, tokens: int) -> bool:
        return self._bits is not None and (self._blocks.dtype is torch.float32 or tokens <= _FEW_TOKENS)

    def _compiled(
        self, first: Ints, last: Ints, rows_of: Mapping[str, list[int]], others: AppliesAdapters
    ) -> AppliesAdapters:
        assert self._bits is not None
        of_token = np.full(int(last.max()) + 1, -1, np.int64)
        numbers = {key: number for number, key in enumerate(self._lie)}
        for key, rows in rows_of.items():
            for row in rows:
                of_token[first[row] : last[row] + 1] = numbers[key]
        return _AllAtOnce(self._bits, KINDS[self._blocks.dtype], self._tables, of_token, others)

    def _tokens(self, first: Ints, last: Ints, rows: list[int]) -> slice | torch.Tensor:
        """Return the flat tokens of ascending `rows`, as a slice where they follow each other: a slice copies
        nothing."""
        if rows[-1] - rows[0] + 1 == len(rows):
            return slice(int(first[rows[0]]), int(last[rows[-1]]) + 1)
        runs = [np.arange(first[row], last[row] + 1) for row in rows]
        return torch.from_numpy(np.concatenate(runs)).to(self._blocks.device)

    def _view(self, matrix: Matrix, blocks: NDArray[np.int32]) -> torch.Tensor:
        end = matrix.offset + matrix.shape[0] * matrix.shape[1]
        return self._blocks[int(blocks[matrix.page]), matrix.offset : end].view(matrix.shape)


@dataclass(frozen=True, slots=True)
class _AllAtOnce:
    """Tokens of short rows by one kernel, then those of `others`."""

    bits: NDArray[np.uint32]
    kind: int
    tables: AdapterTables
    of_token: Ints
    others: AppliesAdapters

    def add(self, layer: int, projection: Projection, x: torch.Tensor, out: torch.Tensor) -> None:
        sums, at = out.float(), (layer, int(projection))
        add_adapters(self.bits, self.kind, self.tables, self.of_token, at, x.float().numpy(), sums.numpy())
        if sums is not out:
            out.copy_(sums)
        self.others.add(layer, projection, x, out)


@dataclass(frozen=True, slots=True)
class _AdapterByAdapter:
    """Tokens without an adapter are not touched."""

    segments: list[_Segment]

    def add(self, layer: int, projection: Projection, x: torch.Tensor, out: torch.Tensor) -> None:
        for segment in self.segments:
            pieces = segment.pieces.get((layer, projection))
            if pieces:
                _add_pieces(pieces, segment.tokens, x, out)


def _add_pieces(
    pieces: tuple[_PieceViews, ...], tokens: slice | torch.Tensor, x: torch.Tensor, out: torch.Tensor
) -> None:
    inputs, outputs = x[tokens], out[tokens]
    for piece in pieces:
        ranks = product(inputs, piece.down)
        for columns, rank, up in piece.parts:
            add_product(outputs[:, columns], ranks[:, rank], up)
    if not isinstance(tokens, slice):
        out.index_copy_(0, tokens, outputs)
