"""The part of a distribution that is drawn from: min-p, top-k, then the smallest set with top-p of what they leave.

Each limit keeps the most probable tokens down to some probability, so one threshold a row says it all; tokens as
probable as the last one kept are kept too (as transformers does for top-k), so the result has no order of ties in it.
min-p after Nguyen et al., "Turning Up the Heat: Min-p Sampling" (ICLR 2025); top-p after Holtzman et al. (ICLR 2020).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

CANDIDATES = 1024
"""So many of a row's most probable tokens nearly always hold its threshold; else the whole row is sorted."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of some rows, each of shape [rows]; `top_k` 0, `top_p` 1 and `min_p` 0 mean none."""

    top_k: NDArray[np.int64]
    top_p: NDArray[np.float32]
    min_p: NDArray[np.float32]

    @property
    def only_top_p(self) -> NDArray[np.bool_]:
        return (self.top_k <= 0) & (self.min_p <= 0.0)

    def at(self, index: NDArray[np.intp]) -> "Limits":
        """Return those of some of the rows."""
        return Limits(self.top_k[index], self.top_p[index], self.min_p[index])


def limit(probabilities: torch.Tensor, limits: Limits) -> torch.Tensor:
    """Return `probabilities` [rows, vocab] (float32) with 0 for what the limits exclude; not renormalised."""
    best = _largest(probabilities, min(CANDIDATES, probabilities.shape[-1]))
    thresholds = _thresholds(best, limits)
    index = (
        np.flatnonzero(~_decided(best, limits)) if best.shape[-1] < probabilities.shape[-1] else np.empty(0, np.intp)
    )
    if len(index):
        rows = probabilities[torch.from_numpy(index).to(probabilities.device)]
        thresholds[index] = _thresholds(_largest(rows, rows.shape[-1]), limits.at(index))
    lowest = torch.from_numpy(thresholds.astype(np.float32)).to(probabilities.device)
    return torch.where(probabilities >= lowest[:, None], probabilities, 0.0)


def _largest(values: torch.Tensor, width: int) -> Floats:
    """Return each row's `width` largest values, in falling order."""
    if values.device.type != "cpu":
        largest: Floats = values.topk(width, dim=-1).values.double().cpu().numpy()
        return largest
    # numpy selects and sorts with vector instructions: a tenth of torch's time over 49,152 values.
    rows, least = values.numpy(), values.shape[-1] - width
    part = np.partition(rows, least, axis=-1)[:, least:] if least else rows
    return np.sort(part, axis=-1)[:, ::-1].astype(np.float64)


def _thresholds(best: Floats, limits: Limits) -> Floats:
    """Return each row's lowest probability that is kept; `best` [rows, n] falls."""
    floor = limits.min_p * best[:, 0]
    within = (np.arange(best.shape[-1]) < _counts(limits)[:, None]) & (best >= floor[:, None])
    kept = np.where(within, best, 0.0)
    cumulative = kept.cumsum(-1)
    # Alone, top-p is a part of the whole distribution, of which `best` may be the begin only.
    mass = np.where(limits.only_top_p, 1.0, cumulative[:, -1])
    asked = np.where(limits.top_p < 1.0, limits.top_p * mass, np.inf)
    count = np.maximum(((kept > 0.0) & (cumulative - kept < asked[:, None])).sum(-1), 1)
    return np.take_along_axis(best, count[:, None] - 1, axis=-1)[:, 0]


def _counts(limits: Limits) -> NDArray[np.int64]:
    return np.where(limits.top_k > 0, limits.top_k, np.iinfo(np.int64).max)


def _decided(best: Floats, limits: Limits) -> NDArray[np.bool_]:
    """Tell the rows whose threshold surely lies within `best`."""
    by_count = _counts(limits) <= best.shape[-1]
    by_min_p = best[:, -1] < limits.min_p * best[:, 0]
    by_top_p = limits.only_top_p & (best.sum(-1) >= limits.top_p)
    decided: NDArray[np.bool_] = by_count | by_min_p | by_top_p
    return decided
