"""Paged attention of decodes: one new token a request, the context split among programs (Flash-Decoding).

With few requests there are fewer (request, key/value head) pairs than processors, so the context of each is cut into
segments that are attended in parallel; a second kernel merges their softmaxes (Dao et al., Flash-Decoding, 2023). How
many segments there are depends on the number of rows only, and lengths are read on the device: a captured graph can
be replayed for any contexts. A row of context 0 is padding and gives zeros.
"""

import torch
import triton
import triton.language as tl

from tierline_worker.attention.triton_tiles import LOG2_E, attend_keys

_MOST_SEGMENTS = 32
_PROGRAMS_PER_PROCESSOR = 2


def segments_for(rows: int, kv_heads: int, processors: int) -> int:
    """Return into how many segments contexts are cut, a power of two, so that all `processors` have work."""
    wanted = -(-_PROGRAMS_PER_PROCESSOR * processors // (rows * kv_heads))
    return min(1 << (max(wanted, 1) - 1).bit_length(), _MOST_SEGMENTS)


def attend_decodes(
    out: torch.Tensor,
    query: torch.Tensor,
    pages: torch.Tensor,
    table: torch.Tensor,
    slots: torch.Tensor,
    contexts: torch.Tensor,
    segments: int,
    tile_keys: int,
) -> None:
    """Write the attention of one token a row into `out`.

    out, query [rows, heads, head_dim]; pages [blocks, 2, kv_heads, block_tokens, head_dim], one layer of the arena by
    stride; table int32 [slots, width]; slots, contexts [rows], the latter with the new token.
    """
    rows, heads, head_dim = query.shape
    kv_heads, block_tokens = pages.shape[2:4]
    group = heads // kv_heads
    partial = query.new_empty((rows, heads, segments, head_dim), dtype=torch.float32)
    softmax = query.new_empty((rows, heads, segments, 2), dtype=torch.float32)
    padded = max(triton.next_power_of_2(head_dim), 16)
    _segments[(rows, kv_heads, segments)](
        partial,
        softmax,
        query,
        pages,
        table,
        slots,
        contexts,
        head_dim**-0.5 * LOG2_E,
        table.stride(0),
        pages.stride(0),
        pages.stride(1),
        HEADS=heads,
        GROUP=group,
        HEAD_DIM=head_dim,
        PADDED_DIM=padded,
        BLOCK_TOKENS=block_tokens,
        ROWS=max(triton.next_power_of_2(group), 16),
        SEGMENTS=segments,
        TILE=tile_keys,
        num_warps=4,
    )
    _merge[(rows, heads)](
        out, partial, softmax, HEADS=heads, HEAD_DIM=head_dim, PADDED_DIM=padded, SEGMENTS=segments, num_warps=4
    )


@triton.jit
def _segments(
    partial,
    softmax,
    query,
    pages,
    table,
    slots,
    contexts,
    scale,
    table_stride,
    block_stride,
    value_stride,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    ROWS: tl.constexpr,
    SEGMENTS: tl.constexpr,
    TILE: tl.constexpr,
):
    row, kv_head, segment = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    context = tl.load(contexts + row).to(tl.int32)
    # Segments are whole tiles, so that each but the last reads no part of a tile.
    length = tl.cdiv(tl.cdiv(context, TILE), SEGMENTS) * TILE
    begin = segment * length
    end = tl.minimum(begin + length, context)

    member = tl.arange(0, ROWS)
    used = member < GROUP
    dim = tl.arange(0, PADDED_DIM)
    mask = used[:, None] & (dim < HEAD_DIM)[None, :]
    vectors = row.to(tl.int64) * HEADS + kv_head * GROUP + member
    heads = tl.load(query + vectors[:, None] * HEAD_DIM + dim[None, :], mask=mask, other=0.0)

    pages_of = table + tl.load(slots + row).to(tl.int64) * table_stride
    limits = tl.zeros([ROWS], tl.int32) + context
    best, total, result = attend_keys(
        heads,
        limits,
        pages,
        pages_of,
        begin,
        end,
        kv_head,
        scale,
        block_stride,
        value_stride,
        TILE,
        BLOCK_TOKENS,
        HEAD_DIM,
    )
    parts = vectors * SEGMENTS + segment
    tl.store(partial + parts[:, None] * HEAD_DIM + dim[None, :], result, mask=mask)
    tl.store(softmax + parts * 2, best, mask=used)
    tl.store(softmax + parts * 2 + 1, total, mask=used)


@triton.jit
def _merge(
    out,
    partial,
    softmax,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    SEGMENTS: tl.constexpr,
):
    vector = tl.program_id(0).to(tl.int64) * HEADS + tl.program_id(1)
    segment = tl.arange(0, SEGMENTS)
    dim = tl.arange(0, PADDED_DIM)
    parts = vector * SEGMENTS + segment
    best = tl.load(softmax + parts * 2)
    total = tl.load(softmax + parts * 2 + 1)
    # Of padding no segment has a maximum; 0 keeps the difference a number.
    highest = tl.maximum(tl.max(best, 0), -1.0e30)
    share = tl.exp2(best - highest)
    weight = tl.sum(share * total, 0)
    mask = (total > 0)[:, None] & (dim < HEAD_DIM)[None, :]
    results = tl.load(partial + parts[:, None] * HEAD_DIM + dim[None, :], mask=mask, other=0.0)
    merged = tl.sum(results * share[:, None], 0) / tl.maximum(weight, 1.0e-30)
    tl.store(out + vector * HEAD_DIM + dim, merged.to(out.dtype.element_ty), mask=dim < HEAD_DIM)
