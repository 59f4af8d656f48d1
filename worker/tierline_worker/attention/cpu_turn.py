"""Norm and rotation of a batch's heads, and their way into the KV cache, in one pass on a CPU.

As torch operators these are fifteen calls a layer, most of a decode's time outside of its products.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierline_worker.attention.cpu_attend import Pages
from tierline_worker.attention.kv_bits import narrowed
from tierline_worker.compiling import compiled, inlined

Bits = NDArray[np.uint32]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Turned(NamedTuple):
    """Rotations [tokens, head_dim], and norms as the attention's `qk_norm`, empty for none, with their epsilon."""

    cos: Floats
    signed_sin: Floats
    norms: Floats
    epsilon: float


class Places(NamedTuple):
    """Where KV goes: to `layer` of `pages`; blocks and offsets [tokens] say whereto in them."""

    pages: Pages
    layer: int
    blocks: Ints
    offsets: Ints


@compiled
def turn_and_store(projected: Floats, turn: Turned, places: Places, query: Floats) -> None:
    """Turn projected [tokens, heads + 2 * kv_heads, head_dim] into query [tokens, heads, head_dim] and stored KV."""
    bits, kind = places.pages
    heads, kv_heads, size = query.shape[1], bits.shape[3], query.shape[2]
    turned = np.empty(size, np.float32)
    for token in range(len(projected)):
        block, offset = places.blocks[token], places.offsets[token]
        for head in range(heads + kv_heads):
            source = projected[token, head]
            if len(turn.norms):
                _norm(source, turn.norms[head], turn.epsilon, turned)
                source = turned.copy()
            _rotate(source, turn.cos[token], turn.signed_sin[token], turned)
            if head < heads:
                query[token, head] = turned
            else:
                _store(turned, bits[block, places.layer, 0, head - heads], offset * size, kind)
        for head in range(kv_heads):
            value = projected[token, heads + kv_heads + head]
            _store(value, bits[block, places.layer, 1, head], offset * size, kind)


@inlined
def _norm(source: Floats, weight: Floats, epsilon: float, out: Floats) -> None:
    total = np.float32(0)
    for i in range(len(source)):
        total += source[i] * source[i]
    scale = np.float32(1) / np.sqrt(total / np.float32(len(source)) + np.float32(epsilon))
    for i in range(len(source)):
        out[i] = source[i] * scale * weight[i]


@inlined
def _rotate(source: Floats, cos: Floats, signed_sin: Floats, out: Floats) -> None:
    half = len(source) // 2
    for i in range(half):
        out[i] = source[i] * cos[i] + source[half + i] * signed_sin[i]
        out[half + i] = source[half + i] * cos[half + i] + source[i] * signed_sin[half + i]


@inlined
def _store(numbers: Floats, page: Bits, place: int, kind: int) -> None:
    for i in range(len(numbers)):
        page[place + i] = narrowed(numbers[i], kind)
