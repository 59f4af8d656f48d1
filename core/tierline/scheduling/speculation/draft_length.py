"""How many draft tokens each row verifies: as many as give the batch the most tokens per millisecond.

    maximise  sum_i E_i(k_i) / t(k),   E(k) = (1 - a^(k+1)) / (1 - a),   t(k) = base_ms + token_ms * sum_i k_i

E is what a row with acceptance rate a gives with k drafts: those accepted, and the token that the target itself samples
after them (SmartSpec, Liu et al., arXiv 2406.14066). t is the latency model's: an iteration without drafts, and what
one more drafted and verified token adds. No draft (k = 0) is a choice like others; a large batch, where a token more
costs as much as a token decoded, comes to it by itself. Rows choose apart from each other once the goodput g is known,
the largest E_i(k) - g * token_ms * k, so the ratio is maximised by a few rounds (Dinkelbach, Management Science 13,
1967), exactly.

Inputs: rates, the longest draft of each row, base_ms and token_ms in milliseconds, and `turns`: how many iterations a
row with drafts takes. It is 1, or 2 where the next plan is made before this one's result is known, since such a row is
not in that plan. Bounds: 0 <= k_i <= longest_i. When not to use: rates that are not known yet (explore first), and
tokens whose choice depends on earlier choices in ways that the verifying pass does not follow.
"""

import numpy as np
from numpy.typing import NDArray

_MAX_ROUNDS = 32


def expected_tokens(rates: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    """Return E(k) for each of `rates` [n] and k of 0 to `longest`, [n, longest + 1]."""
    return np.cumsum(rates[:, None] ** np.arange(longest + 1), axis=1)


def draft_lengths(
    rates: NDArray[np.float64], longest: NDArray[np.int64], base_ms: float, token_ms: float, turns: int = 1
) -> NDArray[np.int64]:
    """Return k for each row; rows that may not draft have `longest` 0."""
    if not longest.any():
        return np.zeros(len(rates), np.int64)
    values = expected_tokens(rates, int(longest.max()))
    values[:, 1:] /= turns
    lengths = np.arange(values.shape[1])
    values[lengths > longest[:, None]] = -np.inf
    goodput = len(rates) / base_ms
    chosen = np.zeros(len(rates), np.int64)
    for _ in range(_MAX_ROUNDS):
        chosen = (values - goodput * token_ms * lengths).argmax(axis=1)
        better = values[np.arange(len(rates)), chosen].sum() / (base_ms + token_ms * chosen.sum())
        if better <= goodput:
            break
        goodput = better
    return chosen


def within(lengths: NDArray[np.int64], rates: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Return `lengths` cut to `most` draft tokens in all; those least likely to be accepted go first."""
    if int(lengths.sum()) <= most:
        return lengths
    depth = np.arange(1, int(lengths.max()) + 1)
    chances = np.where(depth <= lengths[:, None], rates[:, None] ** depth, -1.0)
    kept = np.argsort(-chances, axis=None, kind="stable")[: max(most, 0)]
    cut: NDArray[np.int64] = np.bincount(kept // len(depth), minlength=len(lengths))
    return cut


def within_budgets(
    lengths: NDArray[np.int64],
    rates: NDArray[np.float64],
    budgets_ms: NDArray[np.float64],
    base_ms: float,
    token_ms: float,
) -> NDArray[np.int64]:
    """Halve `lengths` until no row takes longer per token than its budget, or than it would without any drafts.

    A row without drafts waits for those of others: it gives one token in an iteration that they make longer.
    """
    if (budgets_ms == np.inf).all():
        return lengths
    allowed_ms = np.maximum(budgets_ms, base_ms)
    while lengths.any():
        expected = expected_tokens(rates, int(lengths.max()))[np.arange(len(lengths)), lengths]
        if ((base_ms + token_ms * int(lengths.sum())) / expected <= allowed_ms).all():
            break
        lengths = lengths // 2
    return lengths
