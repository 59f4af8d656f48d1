"""The numbers of KV pages as bits, for kernels on a CPU without types of 16 bits: widened to float32 and back.

`kind` says what the bits are. Narrowing rounds to the nearest, ties to even, as torch does.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from tierline_worker.compiling import inlined

FLOAT32, BFLOAT16, FLOAT16 = 0, 1, 2
KINDS = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16, torch.float16: FLOAT16}
_SIGN, _SIZE = np.uint32(0x80000000), np.uint32(0x7FFFFFFF)
_INFINITY, _QUIET_NAN = np.uint32(0x7F800000), np.uint32(0x7FC0)
_HALF_BIAS = np.float32(2.0**112)
_HALF_TOO_LARGE, _HALF_NORMAL, _HALF_REBIAS = np.uint32(0x47800000), np.uint32(0x38800000), np.uint32(0xC8000FFF)
_HALF_INFINITY, _HALF_NAN = np.uint32(0x7C00), np.uint32(0x7E00)
_HALF, _HALF_BITS = np.float32(0.5), np.uint32(0x3F000000)


def bits_of(pages: torch.Tensor) -> NDArray[np.uint32]:
    """Return the same memory as unsigned integers, of 16 bits where the numbers have as many."""
    wide = pages.dtype is torch.float32
    bits: NDArray[np.uint32] = pages.view(torch.int32 if wide else torch.int16).numpy()
    return bits.view(np.uint32 if wide else np.uint16)


@inlined
def widen(bits: NDArray[np.uint32], kind: int, out: NDArray[np.uint32]) -> None:
    """Write `bits` of `kind` to `out` as those of float32."""
    if kind == BFLOAT16:
        for i in range(len(bits)):
            out[i] = np.uint32(bits[i]) << np.uint32(16)
    elif kind == FLOAT16:
        numbers = out.view(np.float32)
        for i in range(len(bits)):
            half = np.uint32(bits[i])
            out[i] = (half & np.uint32(0x7FFF)) << np.uint32(13)
            numbers[i] *= _HALF_BIAS
            special = _INFINITY if (half & _HALF_INFINITY) == _HALF_INFINITY else np.uint32(0)
            out[i] |= special | (half & np.uint32(0x8000)) << np.uint32(16)
    else:
        for i in range(len(bits)):
            out[i] = bits[i]


@inlined
def narrowed(number: np.float32, kind: int) -> np.uint32:
    """Return the bits of `number` in `kind`."""
    bits = np.float32(number).view(np.uint32)
    if kind == BFLOAT16:
        if number != number:  # noqa: PLR0124 not a number
            return _QUIET_NAN
        return np.uint32((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))
    if kind == FLOAT16:
        return _half(bits)
    return bits


@inlined
def _half(bits: np.uint32) -> np.uint32:
    sign, size = np.uint32((bits & _SIGN) >> np.uint32(16)), np.uint32(bits & _SIZE)
    if size >= _HALF_TOO_LARGE:
        rounded = _HALF_NAN if size > _INFINITY else _HALF_INFINITY
    elif size < _HALF_NORMAL:
        # The addition shifts the digits to where a subnormal number has them, and rounds them.
        rounded = np.uint32(np.float32(size.view(np.float32) + _HALF).view(np.uint32) - _HALF_BITS)
    else:
        rounded = np.uint32((size + _HALF_REBIAS + ((size >> np.uint32(13)) & np.uint32(1))) >> np.uint32(13))
    return np.uint32(sign | rounded)
