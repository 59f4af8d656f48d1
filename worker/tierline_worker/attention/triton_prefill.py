"""Paged attention of prompt chunks (and of rows that verify drafts): several new tokens of a request over its context.

One program computes a block of query rows for one key/value head. The query heads that share it are packed with the
tokens into the rows of one matrix product (rows = tokens x group), so that grouped-query attention loads each key once
and fills the tensor cores also with few tokens ("Q-blocks", The Anatomy of a Triton Attention Kernel, arXiv
2511.11581). Which block of which request a program computes is a list made on the host, where all lengths are known.
"""

import torch
import triton
import triton.language as tl

from tierline_worker.attention.triton_tiles import LOG2_E, attend_keys


def query_block_tokens(group: int, rows: int) -> int:
    """Return how many tokens of `group` query heads each fill a block of `rows` rows."""
    return max(rows // group, 1)


def attend_chunks(
    out: torch.Tensor,
    query: torch.Tensor,
    pages: torch.Tensor,
    table: torch.Tensor,
    rows: torch.Tensor,
    tiles: torch.Tensor,
    block_rows: int,
    tile_keys: int,
) -> None:
    """Write the attention of the chunks' tokens into `out`; tokens of other rows are left alone.

    out, query [tokens, heads, head_dim]; pages [blocks, 2, kv_heads, block_tokens, head_dim], one layer of the arena
    by stride; table int32 [slots, width]; rows int32 [4, rows]: slots, starts, counts and the index of a row's first
    token; tiles int32 [n, 2]: pairs of a row and the first of `query_block_tokens` tokens in it.
    """
    heads, head_dim = query.shape[1:]
    kv_heads, block_tokens = pages.shape[2:4]
    group = heads // kv_heads
    _chunks[(tiles.shape[0], kv_heads)](
        out,
        query,
        pages,
        table,
        rows,
        tiles,
        head_dim**-0.5 * LOG2_E,
        rows.shape[1],
        table.stride(0),
        pages.stride(0),
        pages.stride(1),
        HEADS=heads,
        GROUP=group,
        HEAD_DIM=head_dim,
        PADDED_DIM=max(triton.next_power_of_2(head_dim), 16),
        BLOCK_TOKENS=block_tokens,
        ROWS=max(triton.next_power_of_2(group), block_rows),
        TOKENS=query_block_tokens(group, max(triton.next_power_of_2(group), block_rows)),
        TILE=tile_keys,
        num_warps=4,
    )


@triton.jit
def _chunks(
    out,
    query,
    pages,
    table,
    rows,
    tiles,
    scale,
    row_count,
    table_stride,
    block_stride,
    value_stride,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PADDED_DIM: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    ROWS: tl.constexpr,
    TOKENS: tl.constexpr,
    TILE: tl.constexpr,
):
    row = tl.load(tiles + 2 * tl.program_id(0))
    offset = tl.load(tiles + 2 * tl.program_id(0) + 1)
    kv_head = tl.program_id(1)
    slot = tl.load(rows + row)
    start = tl.load(rows + row_count + row)
    count = tl.load(rows + 2 * row_count + row)
    first = tl.load(rows + 3 * row_count + row)

    packed = tl.arange(0, ROWS)
    token = offset + packed // GROUP
    used = (packed < TOKENS * GROUP) & (token < count)
    dim = tl.arange(0, PADDED_DIM)
    mask = used[:, None] & (dim < HEAD_DIM)[None, :]
    vectors = (first + token).to(tl.int64) * HEADS + kv_head * GROUP + packed % GROUP
    places = vectors[:, None] * HEAD_DIM + dim[None, :]
    heads = tl.load(query + places, mask=mask, other=0.0)

    keys = start + tl.minimum(offset + TOKENS, count)
    pages_of = table + slot.to(tl.int64) * table_stride
    _, total, result = attend_keys(
        heads,
        start + token + 1,
        pages,
        pages_of,
        0,
        keys,
        kv_head,
        scale,
        block_stride,
        value_stride,
        TILE,
        BLOCK_TOKENS,
        HEAD_DIM,
    )
    tl.store(out + places, (result / total[:, None]).to(out.dtype.element_ty), mask=mask)
