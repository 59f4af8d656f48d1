"""Draws each row's token: the most probable one at temperature 0, else by the row's keyed uniform number.

What a row draws depends on nothing but its own logits and parameters: no step sorts, sums or limits rows together, so a
request gets the same token alone and in any batch, to the last bit.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tierline_worker.sampling.limits import Limits, limit
from tierline_worker.sampling.uniform import keyed_uniform

LEAST_TEMPERATURE = 1e-5
"""Below it a distribution is one token to float32's precision, so it counts as 0, greedy."""

_BLOCK = 128


@dataclass(frozen=True, slots=True)
class DrawRows:
    """Parameters of the rows to draw, each of shape [rows]: `top_k` 0, `top_p` 1 and `min_p` 0 mean no limit."""

    temperature: NDArray[np.float32]
    top_p: NDArray[np.float32]
    top_k: NDArray[np.int64]
    min_p: NDArray[np.float32]
    seed: NDArray[np.uint64]
    position: NDArray[np.int64]

    @property
    def limited(self) -> NDArray[np.bool_]:
        """Rows that draw from a part of the vocabulary."""
        return (self.top_k > 0) | (self.top_p < 1.0) | (self.min_p > 0.0)

    def at(self, index: NDArray[np.intp]) -> "DrawRows":
        """Return some of the rows."""
        return DrawRows(
            self.temperature[index],
            self.top_p[index],
            self.top_k[index],
            self.min_p[index],
            self.seed[index],
            self.position[index],
        )


def draw_tokens(logits: torch.Tensor, rows: DrawRows) -> NDArray[np.int64]:
    """Return the next token of each row of `logits` [rows, vocab] (float32, -inf is never drawn)."""
    chosen = _most_probable(logits)
    random, limited = rows.temperature >= LEAST_TEMPERATURE, rows.limited
    for index in (np.flatnonzero(random & ~limited), np.flatnonzero(random & limited)):
        if len(index):
            part = logits if len(index) == len(logits) else logits[torch.from_numpy(index).to(logits.device)]
            chosen[index] = _draw(part, rows.at(index)).cpu().numpy()
    return chosen


def _most_probable(logits: torch.Tensor) -> NDArray[np.int64]:
    if logits.device.type != "cpu":
        return logits.argmax(dim=-1).cpu().numpy()
    # numpy's argmax is vectorised, torch's is not: a twelfth of its time over 49,152 logits.
    best: NDArray[np.int64] = logits.numpy().argmax(axis=-1)
    return best


def _draw(logits: torch.Tensor, rows: DrawRows) -> torch.Tensor:
    temperature = torch.from_numpy(rows.temperature).to(logits.device)
    weights = torch.softmax(logits / temperature[:, None], dim=-1)
    if rows.limited.any():
        weights = limit(weights, Limits(rows.top_k, rows.top_p, rows.min_p))
    return invert(weights, torch.from_numpy(keyed_uniform(rows.seed, rows.position)).to(logits.device))


def invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Return per row the first index whose cumulative weight exceeds uniform · total; its weight is above 0.

    Two levels, first the block of `_BLOCK` tokens and then the token in it: a tenth of the time of one long sum.
    """
    padded = torch.nn.functional.pad(weights, (0, -weights.shape[-1] % _BLOCK))
    blocks = padded.view(len(weights), -1, _BLOCK)
    cumulative = blocks.sum(-1).double().cumsum(-1)
    target = uniform * cumulative[:, -1]
    block = _first_above(cumulative, target)
    each = torch.arange(len(weights), device=weights.device)
    rest = target - torch.where(block > 0, cumulative[each, block - 1], 0.0)
    return block * _BLOCK + _first_above(blocks[each, block].double().cumsum(-1), rest)


def _first_above(cumulative: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    # Rounding may lift a target to the total, above which nothing is.
    below_total = torch.nextafter(cumulative[:, -1], torch.zeros_like(target))
    return torch.searchsorted(cumulative, torch.minimum(target, below_total)[:, None], right=True)[:, 0]
