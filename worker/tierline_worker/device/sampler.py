"""Choosing tokens on the device without telling the host anything: no sizes depend on values, nothing is waited for.

The rules and the keyed randomness are those of the sampler on the host (see `tierline_worker.sampling`), so a request
gets the same token on either. SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) is computed in int64, whose products wrap
as those of unsigned numbers do.
"""

from dataclasses import dataclass
from enum import IntEnum

import torch

_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64
_GAMMA = 0x9E3779B97F4A7C15 - 2**64


class Draw(IntEnum):
    """What a batch needs at the most: the best token, a draw from all, or a draw from a limited part."""

    GREEDY = 0
    FREE = 1
    LIMITED = 2


@dataclass(frozen=True, slots=True)
class DrawParameters:
    """Per row: temperature and top_p float32, top_k and seed int64 (the seed's bits), each [rows]."""

    temperature: torch.Tensor
    top_p: torch.Tensor
    top_k: torch.Tensor
    seed: torch.Tensor

    def at(self, slots: torch.Tensor) -> "DrawParameters":
        """Return those of `slots`."""
        return DrawParameters(self.temperature[slots], self.top_p[slots], self.top_k[slots], self.seed[slots])


def keyed_uniform(seed: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Return one float64 in [0, 1) for each (seed, position), both int64."""
    mixed = _mix(_mix(seed + _GAMMA) + position * _GAMMA)
    return _shifted(mixed, 11).double() * 2.0**-53


def choose(logits: torch.Tensor, rows: DrawParameters, position: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Return the token of each row of `logits` [rows, vocab] (float32) that belongs to `position` [rows]."""
    best = logits.argmax(dim=-1)
    if draw is Draw.GREEDY:
        return best
    greedy = rows.temperature <= 0.0
    temperature = torch.where(greedy, 1.0, rows.temperature).double()
    probabilities = torch.softmax(logits.double() / temperature[:, None], dim=-1)
    if draw is Draw.LIMITED:
        drawn = _invert(_limited(probabilities, rows), rows, position)
    else:
        drawn = _invert(probabilities, rows, position)
    return torch.where(greedy, best, drawn)


def _limited(probabilities: torch.Tensor, rows: DrawParameters) -> torch.Tensor:
    """Return `probabilities` with 0 for what is less probable than the last of top-k, then of top-p of the rest."""
    vocabulary = probabilities.shape[-1]
    top = probabilities.sort(dim=-1, descending=True).values
    top_k = torch.where(rows.top_k > 0, rows.top_k, vocabulary)
    top = top * (torch.arange(vocabulary, device=top.device) < top_k[:, None])
    mass = torch.where(top_k < vocabulary, top.sum(-1), 1.0)
    asked = torch.where(rows.top_p < 1.0, rows.top_p.double() * mass, torch.inf)
    kept = (top > 0.0) & (top.cumsum(-1) - top < asked[:, None])
    lowest = top.gather(1, (kept.sum(-1, keepdim=True) - 1).clamp_(min=0))
    return torch.where(probabilities >= lowest, probabilities, 0.0)


def _invert(weights: torch.Tensor, rows: DrawParameters, position: torch.Tensor) -> torch.Tensor:
    """Return per row the first index whose cumulative weight exceeds uniform · total."""
    cumulative = weights.cumsum(-1)
    target = keyed_uniform(rows.seed, position) * cumulative[:, -1]
    found = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
    return found.clamp_(max=weights.shape[-1] - 1)


def _mix(value: torch.Tensor) -> torch.Tensor:
    value = (value ^ _shifted(value, 30)) * _MIX_1
    value = (value ^ _shifted(value, 27)) * _MIX_2
    return value ^ _shifted(value, 31)


def _shifted(value: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift right and fill with zeros; int64 fills with its sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
