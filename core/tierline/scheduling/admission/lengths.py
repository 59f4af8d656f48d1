"""How long answers become, learned from those that ended.

Each (tenant, tier) has a histogram of output lengths over bins that grow by a constant ratio, so that one relative
precision serves answers of ten tokens and of ten thousand. Old answers fade: each new one multiplies the weight of
those before by `FADING`. A tenant with little history borrows from its tier, a tier with little history from a prior:

    p = (counts + K · p_tier) / (Σ counts + K),   p_tier = (counts_tier + K · p_prior) / (Σ counts_tier + K)

The prior is log-normal with the median of public chat traces. Predictions are conditional on what has been generated
and on the request's own limit, so they are never below the one or above the other.

Inputs: lengths of answers that ended by themselves or by their limit; cancelled ones say nothing. Bounds: at most
`MAX_HISTORIES` histograms, the least recently used goes. Do not use it to reserve memory that must not run out: it
gives quantiles, not guarantees. Predicting lengths in place of taking the limit for them: UELLM (arXiv 2409.14961).
"""

from collections import OrderedDict
from collections.abc import Hashable
from functools import lru_cache
from math import erf, log, sqrt
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

FADING: Final = 0.998
BORROWED: Final = 16.0
"""So many answers of its own weigh as much as what is borrowed."""
MAX_HISTORIES: Final = 4096

_RATIO: Final = 2**0.25
_BINS: Final = 72
_PRIOR_MEDIAN_TOKENS: Final = 160.0
_PRIOR_SIGMA: Final = 1.2

Floats = NDArray[np.float64]
K = TypeVar("K", bound=Hashable)

_UPPER: Floats = np.power(_RATIO, np.arange(1, _BINS + 1), dtype=np.float64)
_LOWER: Floats = _UPPER / _RATIO
_MIDDLE: Floats = np.sqrt(_LOWER * _UPPER)


class OutputLengthPredictor:
    """Expected lengths and quantiles per tenant and tier; pure state."""

    def __init__(self, max_histories: int = MAX_HISTORIES) -> None:
        self._max_histories = max_histories
        self._of_tenant: OrderedDict[tuple[str, str], _History] = OrderedDict()
        self._of_tier: OrderedDict[str, _History] = OrderedDict()

    @property
    def histories(self) -> int:
        """How many histograms are kept."""
        return len(self._of_tenant) + len(self._of_tier)

    def learn(self, tenant: str, tier: str, output_tokens: int) -> None:
        """Take in an answer that ended."""
        if output_tokens < 1:
            return
        self._history(self._of_tenant, (tenant, tier)).learn(output_tokens)
        self._history(self._of_tier, tier).learn(output_tokens)

    def expected(self, tenant: str, tier: str, most_tokens: int, generated_tokens: int = 0) -> float:
        """Return the mean length in the end of an answer that has `generated_tokens` and may have `most_tokens`."""
        shares = self._remaining(tenant, tier, generated_tokens)
        middles = _capped(most_tokens)
        if generated_tokens:
            middles = np.minimum(np.maximum(_MIDDLE, generated_tokens), most_tokens)
        return min(max(float(shares @ middles), generated_tokens), most_tokens)

    def quantile(self, tenant: str, tier: str, share: float, most_tokens: int, generated_tokens: int = 0) -> float:
        """Return the length that `share` of such answers do not exceed; `share` from 0 to 1."""
        shares = self._remaining(tenant, tier, generated_tokens)
        cumulative = shares.cumsum()
        at = min(int(cumulative.searchsorted(share)), _BINS - 1)
        of_bin = float(shares[at])
        inside = (share - (float(cumulative[at]) - of_bin)) / max(of_bin, 1e-12)
        length = float(_LOWER[at]) * _RATIO ** min(max(inside, 0.0), 1.0)
        return float(min(max(length, min(generated_tokens, most_tokens)), most_tokens))

    def _history(self, histories: "OrderedDict[K, _History]", key: K) -> "_History":
        history = histories.get(key)
        if history is None:
            history = histories[key] = _History()
        histories.move_to_end(key)
        if len(histories) > self._max_histories:
            histories.popitem(last=False)
        return history

    def _remaining(self, tenant: str, tier: str, generated_tokens: int) -> Floats:
        """Return the shares of the bins given that the answer is longer than what there is of it."""
        of_tier, of_tenant = self._of_tier.get(tier), self._of_tenant.get((tenant, tier))
        shares = _PRIOR if of_tier is None else of_tier.shares(_PRIOR)
        shares = shares if of_tenant is None else of_tenant.shares(shares)
        if generated_tokens < 1:
            return shares
        left: Floats = shares * np.clip(np.log(_UPPER / generated_tokens) / log(_RATIO), 0.0, 1.0)
        total = left.sum()
        if total > 0:
            left /= total
        else:
            left[-1] = 1.0
        return left


class _History:
    """One histogram, and its shares of the bins as they were last asked for: a request asks twice."""

    __slots__ = ("_borrowed", "_counts", "_shares", "_total")

    def __init__(self) -> None:
        self._counts: Floats = np.zeros(_BINS)
        self._total = 0.0
        self._borrowed, self._shares = _PRIOR, _UNKNOWN

    def learn(self, output_tokens: int) -> None:
        self._counts *= FADING
        self._counts[min(int(log(output_tokens) / log(_RATIO) + 1e-9), _BINS - 1)] += 1.0
        self._total = FADING * self._total + 1.0
        self._shares = _UNKNOWN

    def shares(self, borrowed: Floats) -> Floats:
        """Return the shares, blended with what is borrowed; not to be changed by the caller."""
        if self._shares is _UNKNOWN or borrowed is not self._borrowed:
            self._borrowed = borrowed
            self._shares = (self._counts + BORROWED * borrowed) / (self._total + BORROWED)
        return self._shares


@lru_cache(maxsize=1024)
def _capped(most_tokens: int) -> Floats:
    """Return the bins' middles up to a limit: clients ask for few different ones."""
    return np.minimum(_MIDDLE, most_tokens)


def _log_normal() -> Floats:
    edges = np.concatenate(([_LOWER[0]], _UPPER))
    below = [0.5 * (1 + erf(log(edge / _PRIOR_MEDIAN_TOKENS) / (_PRIOR_SIGMA * sqrt(2)))) for edge in edges]
    shares = np.diff(below)
    normal: Floats = shares / shares.sum()
    return normal


_PRIOR: Final = _log_normal()
_UNKNOWN: Final[Floats] = np.zeros(0)
