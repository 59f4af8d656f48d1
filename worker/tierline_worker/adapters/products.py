"""The two products of an adapter on a CPU: x · A for some tokens, and (x · A) · B added where it belongs.

In float32 a token's bits must not tell its company (ADR 12): each token is a product of its own, as one call of a
batched product or, alone, a matrix times a vector; both have the same bits (measured), but for products of fewer than
400 multiplications, where torch has another batched kernel. Other formats multiply all tokens at once.
"""

import torch

_OWN_KERNEL_BELOW = 400


def add_product(out: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> None:
    """Add x [tokens, inputs] · weight [inputs, outputs] to `out` [tokens, outputs] in place, in their dtype."""
    weight = weight.to(x.dtype)
    if out.shape[0] == 1:
        out[0].addmv_(weight.t(), x[0])
    elif x.dtype is not torch.float32:
        out.addmm_(x, weight)
    elif weight.numel() < _OWN_KERNEL_BELOW:
        for row, token in zip(out, x, strict=True):
            row.addmv_(weight.t(), token)
    else:
        out.unsqueeze(1).baddbmm_(x.unsqueeze(1), weight.expand(x.shape[0], -1, -1))


def product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return x [tokens, inputs] · weight [inputs, outputs]."""
    out = x.new_zeros(x.shape[0], weight.shape[1])
    add_product(out, x, weight)
    return out
