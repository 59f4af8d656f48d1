"""From projected heads to attention's input in one kernel: norm of query and key, rotation, KV into its pages.

Unfused these are a dozen kernels that read and write the projection again and again; here it is read once. Norms and
rotations are computed in float32 whatever the format.
"""

import torch
import triton
import triton.language as tl

_HEADS_PER_PROGRAM = 8


def rope_and_store(
    projected: torch.Tensor,
    cos: torch.Tensor,
    signed_sin: torch.Tensor,
    qk_norm: torch.Tensor | None,
    epsilon: float,
    places: torch.Tensor,
    pages: torch.Tensor,
) -> torch.Tensor:
    """Return the rotated query [tokens, heads, head_dim]; keys and values are written to their pages.

    projected [tokens, heads + 2 * kv_heads, head_dim] contiguous; cos, signed_sin [tokens, 1, head_dim] as `Rope.at`
    gives them; qk_norm [heads + kv_heads, head_dim] or None; places int64 [tokens]: block times block_tokens plus the
    offset in it, below 0 for tokens that are stored nowhere; pages [blocks, 2, kv_heads, block_tokens, head_dim], one
    layer of the arena by stride.
    """
    tokens, vectors, head_dim = projected.shape
    kv_heads, block_tokens = pages.shape[2:4]
    heads = vectors - 2 * kv_heads
    query = projected.new_empty((tokens, heads, head_dim))
    _rope_and_store[(tokens, triton.cdiv(vectors, _HEADS_PER_PROGRAM))](
        query,
        projected,
        cos,
        signed_sin,
        projected if qk_norm is None else qk_norm,
        epsilon,
        places,
        pages,
        pages.stride(0),
        pages.stride(1),
        NORMED=qk_norm is not None,
        HEADS=heads,
        KV_HEADS=kv_heads,
        HALF=head_dim // 2,
        PADDED_HALF=triton.next_power_of_2(head_dim // 2),
        BLOCK_TOKENS=block_tokens,
        VECTORS=_HEADS_PER_PROGRAM,
        num_warps=2,
    )
    return query


@triton.jit
def _rope_and_store(
    query,
    projected,
    cos,
    signed_sin,
    qk_norm,
    epsilon,
    places,
    pages,
    block_stride,
    value_stride,
    NORMED: tl.constexpr,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    PADDED_HALF: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    VECTORS: tl.constexpr,
):
    HEAD_DIM: tl.constexpr = 2 * HALF
    token = tl.program_id(0).to(tl.int64)
    vector = tl.program_id(1) * VECTORS + tl.arange(0, VECTORS)
    dim = tl.arange(0, PADDED_HALF)
    within = (vector < HEADS + 2 * KV_HEADS)[:, None] & (dim < HALF)[None, :]
    at = (token * (HEADS + 2 * KV_HEADS) + vector)[:, None] * HEAD_DIM + dim[None, :]
    first = tl.load(projected + at, mask=within, other=0.0).to(tl.float32)
    second = tl.load(projected + at + HALF, mask=within, other=0.0).to(tl.float32)
    turned = (vector < HEADS + KV_HEADS)[:, None]
    if NORMED:
        scaled = within & turned
        weights = qk_norm + vector[:, None] * HEAD_DIM + dim[None, :]
        square = tl.sum(first * first + second * second, 1) / HEAD_DIM
        factor = tl.rsqrt(square + epsilon)[:, None]
        first = tl.where(turned, first * factor * tl.load(weights, mask=scaled, other=0.0).to(tl.float32), first)
        second = tl.where(
            turned, second * factor * tl.load(weights + HALF, mask=scaled, other=0.0).to(tl.float32), second
        )

    angle = token * HEAD_DIM + dim
    real = tl.load(cos + angle, mask=dim < HALF, other=0.0).to(tl.float32)[None, :]
    imaginary = tl.load(signed_sin + angle + HALF, mask=dim < HALF, other=0.0).to(tl.float32)[None, :]
    new_first = tl.where(turned, first * real - second * imaginary, first).to(query.dtype.element_ty)
    new_second = tl.where(turned, second * real + first * imaginary, second).to(query.dtype.element_ty)

    is_query = within & (vector < HEADS)[:, None]
    to_query = query + (token * HEADS + vector)[:, None] * HEAD_DIM + dim[None, :]
    tl.store(to_query, new_first, mask=is_query)
    tl.store(to_query + HALF, new_second, mask=is_query)

    place = tl.load(places + token)
    kept = within & (vector >= HEADS)[:, None] & (place >= 0)
    # Of keys and values in turn: which of the two, and of which head.
    kind = (vector - HEADS) // KV_HEADS
    head = (vector - HEADS) % KV_HEADS
    in_page = kind * value_stride + (head * BLOCK_TOKENS + place % BLOCK_TOKENS) * HEAD_DIM
    to_page = pages + (place // BLOCK_TOKENS) * block_stride + in_page[:, None] + dim[None, :]
    tl.store(to_page, new_first, mask=kept)
    tl.store(to_page + HALF, new_second, mask=kept)
