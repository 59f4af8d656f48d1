"""An adapter's weights as pages of the KV arena, so that adapters and KV share one pool.

After S-LoRA's unified paging (Sheng et al., MLSys 2024), but a page here is a whole KV block, hundreds of rows of a
matrix: matrices lie whole inside a page and are used where they lie. Only what is larger than a page is cut, along the
rank: B·A is the sum of the products of its rank slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tierline_worker.adapters.peft import LoRAModule, LoRAWeights
from tierline_worker.adapters.projections import Projection, ProjectionShape, projection_shapes
from tierline_worker.errors import AdapterError
from tierline_worker.model.config import ModelConfig

_ALIGNED_NUMBERS = 16


@dataclass(frozen=True, slots=True)
class Matrix:
    """Where a matrix of `shape`, rows one after the other, lies: page of the adapter, first number within."""

    page: int
    offset: int
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class PlacedPart:
    """Outputs `first` to `first + up.shape[1]` of a projection get `h[:, rank_first : rank_first + rank] · up`."""

    first: int
    rank_first: int
    up: Matrix


@dataclass(frozen=True, slots=True)
class Piece:
    """A rank slice of one projection of one layer: h = x · `down` [inputs, ranks of all parts], then each part."""

    layer: int
    projection: Projection
    down: Matrix
    parts: tuple[PlacedPart, ...]


@dataclass(frozen=True, slots=True)
class PagedAdapter:
    """`pages` [pages, numbers of a block] in the arena's dtype, and where in them everything lies."""

    pages: torch.Tensor
    pieces: tuple[Piece, ...]
    digest: str

    @property
    def page_count(self) -> int:
        return self.pages.shape[0]


def paginate(weights: LoRAWeights, model: ModelConfig, page_numbers: int, dtype: torch.dtype) -> PagedAdapter:
    """Lay an adapter out in pages of `page_numbers` numbers; raises `AdapterError` when a single row is longer."""
    packer = _Packer(page_numbers)
    pieces = []
    for layer in range(model.layers):
        for projection, shape in projection_shapes(model).items():
            modules = [(part.first, weights.modules.get((layer, part.module))) for part in shape.parts]
            present = [(first, module) for first, module in modules if module is not None]
            if present:
                pieces += list(_pieces(packer, layer, projection, shape, present))
    pages = packer.pages(dtype)
    if not torch.isfinite(pages).all():
        raise AdapterError(weights.digest, f"its numbers are too large for {dtype}", "serve the model in Float32")
    return PagedAdapter(pages, tuple(pieces), weights.digest)


def _pieces(
    packer: "_Packer",
    layer: int,
    projection: Projection,
    shape: ProjectionShape,
    modules: list[tuple[int, LoRAModule]],
) -> Iterator[Piece]:
    longest = max(module.rank for _, module in modules)
    widest = max(module.up.shape[0] for _, module in modules)
    step = min(packer.page_numbers // (shape.inputs * len(modules)), packer.page_numbers // widest)
    if not step:
        problem = f"a KV block of {packer.page_numbers} numbers holds no row of {max(shape.inputs, widest)} numbers"
        raise AdapterError(_place_name(layer, projection), problem, "raise TIERLINE_BLOCK_TOKENS (engine.blockTokens)")
    for begin in range(0, longest, step):
        sliced = [
            (first, module.down[begin : begin + step], module.up[:, begin : begin + step])
            for first, module in modules
            if module.rank > begin
        ]
        down = packer.place(torch.cat([rows for _, rows, _ in sliced]).t())
        yield Piece(layer, projection, down, tuple(_parts(packer, sliced)))


def _parts(packer: "_Packer", sliced: list[tuple[int, torch.Tensor, torch.Tensor]]) -> Iterator[PlacedPart]:
    rank_first = 0
    for first, down, up in sliced:
        yield PlacedPart(first, rank_first, packer.place(up.t()))
        rank_first += down.shape[0]


def _place_name(layer: int, projection: Projection) -> str:
    return f"layer {layer}, {projection.name.lower()}"


class _Packer:
    """Puts matrices behind each other; one that does not fit into the rest of a page begins the next one."""

    def __init__(self, page_numbers: int) -> None:
        self.page_numbers = page_numbers
        self._placed: list[tuple[Matrix, torch.Tensor]] = []
        self._page, self._offset = 0, 0

    def place(self, matrix: torch.Tensor) -> Matrix:
        if self._offset + matrix.numel() > self.page_numbers:
            self._page, self._offset = self._page + 1, 0
        placed = Matrix(self._page, self._offset, (matrix.shape[0], matrix.shape[1]))
        self._placed.append((placed, matrix))
        # An even number of two-byte numbers, so that copies see them as four bytes; a whole line of the cache.
        self._offset += -(-matrix.numel() // _ALIGNED_NUMBERS) * _ALIGNED_NUMBERS
        return placed

    def pages(self, dtype: torch.dtype) -> torch.Tensor:
        pages = torch.zeros(self._page + 1, self.page_numbers, dtype=dtype)
        for placed, matrix in self._placed:
            end = placed.offset + matrix.numel()
            pages[placed.page, placed.offset : end] = matrix.reshape(-1).to(dtype)
        return pages
