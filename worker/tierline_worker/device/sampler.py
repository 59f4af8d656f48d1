"""Choosing tokens on the device without telling the host anything: no sizes depend on values, nothing is waited for.

The rules and the keyed randomness are those of the sampler on the host (see `tierline_worker.sampling`), so a request
gets the same token on either. SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) is computed in int64, whose products wrap
as those of unsigned numbers do.
"""

from dataclasses import dataclass
from enum import IntEnum

import torch

from tierline_worker.sampling.draw import LEAST_TEMPERATURE, invert

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
    """Per row: temperature, top_p and min_p float32, top_k and seed int64 (the seed's bits), each [rows]."""

    temperature: torch.Tensor
    top_p: torch.Tensor
    min_p: torch.Tensor
    top_k: torch.Tensor
    seed: torch.Tensor

    def at(self, slots: torch.Tensor) -> "DrawParameters":
        """Return those of `slots`."""
        columns = (self.temperature, self.top_p, self.min_p, self.top_k, self.seed)
        return DrawParameters(*(column[slots] for column in columns))


def keyed_uniform(seed: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Return one float64 in [0, 1) for each (seed, position), both int64."""
    mixed = _mix(_mix(seed + _GAMMA) + position * _GAMMA)
    return _shifted(mixed, 11).double() * 2.0**-53


def choose(logits: torch.Tensor, rows: DrawParameters, position: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Return the token of each row of `logits` [rows, vocab] (float32) that belongs to `position` [rows]."""
    best = logits.argmax(dim=-1)
    if draw is Draw.GREEDY:
        return best
    greedy = rows.temperature < LEAST_TEMPERATURE
    temperature = torch.where(greedy, 1.0, rows.temperature)
    weights = torch.softmax(logits / temperature[:, None], dim=-1)
    if draw is Draw.LIMITED:
        weights = torch.where(weights >= _thresholds(weights, rows)[:, None], weights, 0.0)
    return torch.where(greedy, best, invert(weights, keyed_uniform(rows.seed, position)))


def _thresholds(weights: torch.Tensor, rows: DrawParameters) -> torch.Tensor:
    """Return each row's lowest probability that its limits keep: min-p, top-k, then top-p of what they leave."""
    best = weights.sort(dim=-1, descending=True).values.double()
    count = torch.where(rows.top_k > 0, rows.top_k, best.shape[-1])
    floor = (rows.min_p.double() * best[:, 0])[:, None]
    within = (torch.arange(best.shape[-1], device=best.device) < count[:, None]) & (best >= floor)
    kept = torch.where(within, best, 0.0)
    cumulative = kept.cumsum(-1)
    only_top_p = (rows.top_k <= 0) & (rows.min_p <= 0.0)
    mass = torch.where(only_top_p, 1.0, cumulative[:, -1])
    asked = torch.where(rows.top_p < 1.0, rows.top_p.double() * mass, float("inf"))
    taken = ((kept > 0.0) & (cumulative - kept < asked[:, None])).sum(-1).clamp(min=1)
    return best.gather(1, taken[:, None] - 1)[:, 0].float()


def _mix(value: torch.Tensor) -> torch.Tensor:
    value = (value ^ _shifted(value, 30)) * _MIX_1
    value = (value ^ _shifted(value, 27)) * _MIX_2
    return value ^ _shifted(value, 31)


def _shifted(value: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift right and fill with zeros; int64 fills with its sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
