"""What the paged attention kernels share: where keys lie, and the online softmax over them.

A tile of keys is independent of the page size: it may span pages or be part of one. Softmax is computed as base-2
exponentials over a running maximum (FlashAttention, Dao et al., arXiv 2205.14135).
"""

import triton
import triton.language as tl

LOG2_E = 1.4426950408889634


@triton.jit
def key_places(
    table, first, keys, kv_head, block_stride, TILE: tl.constexpr, BLOCK_TOKENS: tl.constexpr, HEAD_DIM: tl.constexpr
):
    """Return where keys `first` to `first + TILE` of one head begin, int64 [TILE], and which exist (below `keys`).

    `table` points to the request's row of the block table. Where a tile lies in one page, one entry is read.
    """
    places = first + tl.arange(0, TILE)
    exist = places < keys
    if BLOCK_TOKENS % TILE == 0:
        block = tl.load(table + first // BLOCK_TOKENS).to(tl.int64) + tl.zeros([TILE], tl.int64)
    else:
        block = tl.load(table + places // BLOCK_TOKENS, mask=exist, other=0).to(tl.int64)
    in_page = (kv_head * BLOCK_TOKENS + places % BLOCK_TOKENS) * HEAD_DIM
    return block * block_stride + in_page, exist


@triton.jit
def attend_keys(
    query,
    limits,
    pages,
    table,
    begin,
    end,
    kv_head,
    scale,
    block_stride,
    value_stride,
    TILE: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
):
    """Attend `query` [rows, padded dim] over the keys `begin` to `end` of one head, each row to those below its limit.

    Returns the softmax's maximum and sum [rows] and the sum of values [rows, padded dim], all float32; the last is not
    yet divided by the sum. `scale` includes the base of the exponentials. Places that do not exist are never read: what
    lies there may be another request's, or no number.
    """
    best = tl.full([query.shape[0]], float("-inf"), tl.float32)
    total = tl.zeros([query.shape[0]], tl.float32)
    out = tl.zeros(query.shape, tl.float32)
    dim = tl.arange(0, query.shape[1])
    for first in range(begin, end, TILE):
        places, exist = key_places(table, first, end, kv_head, block_stride, TILE, BLOCK_TOKENS, HEAD_DIM)
        mask = exist[:, None] & (dim < HEAD_DIM)[None, :]
        pointers = pages + places[:, None] + dim[None, :]
        keys = tl.load(pointers, mask=mask, other=0.0)
        scores = tl.dot(query, tl.trans(keys), input_precision="ieee") * scale
        visible = exist[None, :] & ((first + tl.arange(0, TILE))[None, :] < limits[:, None])
        scores = tl.where(visible, scores, float("-inf"))
        new_best = tl.maximum(best, tl.max(scores, 1))
        weights = tl.exp2(scores - new_best[:, None])
        fade = tl.exp2(best - new_best)
        values = tl.load(pointers + value_stride, mask=mask, other=0.0)
        out = out * fade[:, None] + tl.dot(weights.to(values.dtype), values, input_precision="ieee")
        total = total * fade + tl.sum(weights, 1)
        best = new_best
    return best, total, out
