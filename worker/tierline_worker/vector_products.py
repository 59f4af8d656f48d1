"""Matrix products on a CPU for compiled kernels: a block of the result stays in registers.

    out[r, c] += sum over k of a[r, k] * b[k, c]

Each element is summed by fused steps in the order of k, so its bits depend on its row and its column alone, not on how
many rows there are nor on the block it falls into. Float32 needs that to be exact (ADR 12); no compiler decides it,
since the vectors are written down.

Blocks of 6 x 16 and 3 x 32 numbers leave AVX2's other registers to `b` and an element of `a` (Goto and van de Geijn,
Anatomy of High-Performance Matrix Multiplication, 2008). When not to use it: where the CPU multiplies 16-bit numbers
itself (`linear.multiplies_bfloat16`), torch's products are faster.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from tierline_worker.compiling import inlined

Floats = NDArray[np.float32]

LANES = 8
COLUMNS = 32
"""Products have as many columns as a multiple of this."""

_ir: Any = ir
_cgutils: Any = cgutils
_NUMBER, _INT32 = _ir.FloatType(), _ir.IntType(32)
_VECTOR, _PLACES = _ir.VectorType(_NUMBER, LANES), _ir.VectorType(_INT32, LANES)
_FLOAT_BYTES = 4
_MANY, _FEW = 6, 3


class _Writer:
    """Writes loads, stores and sums of vectors; places are addresses in bytes."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def at(self, address: Any, index: Any, step: Any) -> Any:
        b = self.builder
        index, step = (_ir.Constant(address.type, each) if isinstance(each, int) else each for each in (index, step))
        return b.add(address, b.mul(index, step))

    def load(self, address: Any, of: Any = _VECTOR) -> Any:
        return self.builder.load(self.builder.inttoptr(address, of.as_pointer()), align=_FLOAT_BYTES)

    def store(self, vector: Any, address: Any) -> None:
        pointer = self.builder.inttoptr(address, vector.type.as_pointer())
        self.builder.store(vector, pointer, align=_FLOAT_BYTES)

    def everywhere(self, address: Any) -> Any:
        number, nothing = self.load(address, _NUMBER), _ir.Constant(_VECTOR, _ir.Undefined)
        return self.mixed(self.builder.insert_element(nothing, number, _ir.Constant(_INT32, 0)), nothing, [0] * LANES)

    def mixed(self, first: Any, second: Any, places: list[int]) -> Any:
        return self.builder.shuffle_vector(first, second, _ir.Constant(_PLACES, places))

    def add_product(self, total: Any, factor: Any, vector: Any) -> None:
        b = self.builder
        product = b.fmul(factor, vector, flags=("contract",))
        b.store(b.fadd(b.load(total), product, flags=("contract",)), total)


def _block(rows: int, vectors: int) -> Any:
    """Return an intrinsic that multiplies one block; steps go from row to row."""

    def write(to: _Writer, args: tuple[Any, ...]) -> None:
        a, a_step, b, b_step, out, out_step, depth = args
        places = [
            to.at(to.at(out, row, out_step), vector, _FLOAT_BYTES * LANES)
            for row in range(rows)
            for vector in range(vectors)
        ]
        totals = [_cgutils.alloca_once(to.builder, _VECTOR) for _ in places]
        for place, total in zip(places, totals, strict=True):
            to.builder.store(to.load(place), total)
        with _cgutils.for_range(to.builder, depth) as loop:
            b_row, a_column = to.at(b, loop.index, b_step), to.at(a, loop.index, _FLOAT_BYTES)
            columns = [to.load(to.at(b_row, vector, _FLOAT_BYTES * LANES)) for vector in range(vectors)]
            for row in range(rows):
                factor = to.everywhere(to.at(a_column, row, a_step))
                for vector, column in enumerate(columns):
                    to.add_product(totals[row * vectors + vector], factor, column)
        for place, total in zip(places, totals, strict=True):
            to.store(to.builder.load(total), place)

    return _intrinsic(write)


def _transposes() -> Any:
    """Return an intrinsic that writes the columns of 8 x 8 float32 as rows."""

    def write(to: _Writer, args: tuple[Any, ...]) -> None:
        source, source_step, out, out_step = args
        vectors = [to.load(to.at(source, row, source_step)) for row in range(LANES)]
        for distance in (1, 2, 4):
            first = [lane if lane & distance == 0 else lane - distance + LANES for lane in range(LANES)]
            second = [lane + distance if lane & distance == 0 else lane + LANES for lane in range(LANES)]
            vectors = [
                to.mixed(vectors[row], vectors[row + distance], first)
                if row & distance == 0
                else to.mixed(vectors[row - distance], vectors[row], second)
                for row in range(LANES)
            ]
        for row, vector in enumerate(vectors):
            to.store(vector, to.at(out, row, out_step))

    return _intrinsic(write)


def _intrinsic(write: Callable[[_Writer, tuple[Any, ...]], None]) -> Any:
    """Return a function of a tuple of whole numbers, for compiled kernels."""

    def codegen(context: Any, builder: Any, _signature: Any, args: tuple[Any, ...]) -> Any:
        write(_Writer(builder), tuple(_cgutils.unpack_tuple(builder, args[0])))
        return context.get_dummy_value()

    def typed(_context: Any, args: Any) -> Any:
        return types.void(args), codegen

    return intrinsic(typed)


_transpose_8 = _transposes()


_many, _few, _one = _block(_MANY, 2), _block(_FEW, 4), _block(1, 4)


@inlined
def multiply(a: Floats, b: Floats, out: Floats, sizes: tuple[int, int, int]) -> None:
    """Add a [rows, depth] times b [depth, columns] to out, each the beginning of its array's rows; sizes: rows, depth,
    columns."""
    rows, depth, columns = sizes
    row, (from_a, from_b, to) = 0, (a.ctypes.data, b.ctypes.data, out.ctypes.data)
    a_step, b_step, out_step = a.strides[0], b.strides[0], out.strides[0]
    while row < rows:
        left, a_row, out_row = rows - row, from_a + row * a_step, to + row * out_step
        for column in range(0, columns * _FLOAT_BYTES, COLUMNS * _FLOAT_BYTES):
            if left >= _MANY:
                for place in (column, column + COLUMNS * _FLOAT_BYTES // 2):
                    _many((a_row, a_step, from_b + place, b_step, out_row + place, out_step, depth))
            elif left >= _FEW:
                _few((a_row, a_step, from_b + column, b_step, out_row + column, out_step, depth))
            else:
                _one((a_row, a_step, from_b + column, b_step, out_row + column, out_step, depth))
        row += _MANY if left >= _MANY else _FEW if left >= _FEW else 1


@inlined
def transpose(source: Floats, rows: int, out: Floats, at: int) -> None:
    """Write the first rows of source [.., columns] to out [columns, ..] as columns from `at`."""
    columns, begin, end = source.shape[1], source.ctypes.data, out.ctypes.data
    by_eight = rows - rows % LANES if columns % LANES == 0 else 0
    source_step, out_step = source.strides[0], out.strides[0]
    for row in range(0, by_eight, LANES):
        for column in range(0, columns, LANES):
            place = begin + row * source_step + column * _FLOAT_BYTES
            target = end + column * out_step + (at + row) * _FLOAT_BYTES
            _transpose_8((place, source_step, target, out_step))
    for row in range(by_eight, rows):
        for column in range(columns):
            out[column, at + row] = source[row, column]
