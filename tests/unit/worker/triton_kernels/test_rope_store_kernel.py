"""The fused kernel before attention against the model's own operators."""

import pytest
import torch
from paged_reference import PagedCase
from torch.nn import functional

from tierline_worker.attention.triton_rope_store import rope_and_store
from tierline_worker.model.rope import Rope

EPSILON = 1e-5
TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 2e-2}


@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "normed", "dtype"),
    [
        (3, 1, 64, False, torch.float32),
        (8, 2, 128, True, torch.float32),
        (4, 4, 80, True, torch.float32),
        (6, 2, 64, False, torch.bfloat16),
        (8, 2, 128, True, torch.bfloat16),
    ],
)
def test_it_does_what_the_model_does_unfused(heads, kv_heads, head_dim, normed, dtype, device) -> None:
    random = torch.Generator().manual_seed(heads)
    tokens, block_tokens = 5, 4
    projected = torch.randn((tokens, heads + 2 * kv_heads, head_dim), generator=random).to(device, dtype)
    weights = torch.randn((heads + kv_heads, head_dim), generator=random).to(device, dtype) if normed else None
    built = Rope.build(64, head_dim, 10000.0, dtype)
    rope = Rope(built.cos.to(device), built.signed_sin.to(device))
    positions = torch.tensor([0, 3, 17, 4, 63], device=device)
    pages = PagedCase.make([16], kv_heads, head_dim, block_tokens, projected).pages
    places = torch.tensor([0, 5, 13, -1, 6], device=device)
    before = pages.clone()
    at = rope.at(positions)
    query = rope_and_store(projected, at.cos, at.signed_sin, weights, EPSILON, places, pages[:, 1])

    turned, value = projected.split([heads + kv_heads, kv_heads], dim=1)
    if weights is not None:
        turned = functional.rms_norm(turned.float(), (head_dim,), None, EPSILON) * weights
    expected_query, key = rope.at(positions).rotate(turned.to(dtype)).split([heads, kv_heads], dim=1)
    close = {"atol": TOLERANCE[dtype] * 4, "rtol": TOLERANCE[dtype]}
    torch.testing.assert_close(query, expected_query, **close)
    for token, place in enumerate(places.tolist()):
        if place >= 0:
            stored = pages[place // block_tokens, 1, :, :, place % block_tokens]
            torch.testing.assert_close(stored[0], key[token], **close)
            assert torch.equal(stored[1], value[token])
            before[place // block_tokens, 1, :, :, place % block_tokens] = stored
    assert torch.equal(pages.nan_to_num(7.0), before.nan_to_num(7.0))
