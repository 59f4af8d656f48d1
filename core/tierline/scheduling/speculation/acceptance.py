"""How likely a request's next draft token is accepted, and whether that estimate may be relied on.

    rate += (t / n) * (accepted / t - rate),   n = min(n + t, window)

A verified row with d drafts of which a were accepted is t = a + [a < d] trials: those that were accepted, and the
first that was not; what comes after it was not judged. Two such means run side by side, of a short and a long window.
The rate is stable when it rests on `MIN_TRIALS` and both agree within `CHANGE_SIGMAS` standard errors of the short one
under the binomial's variance. If they do not, the text has changed its kind: the past is forgotten, and the estimate
counts again once it has seen as many new trials. A new request starts from what the engine's others had, worth
`PRIOR_TRIALS` of its own.

Inputs: drafted and accepted tokens per row. Bounds: rates in [0, `MAX_RATE`]. When not to use: where acceptance is
known to depend on the draft's depth (a draft model that drifts); the formula takes it for the same at each depth.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHORT_WINDOW = 12
LONG_WINDOW = 48
POOL_WINDOW = 256
MIN_TRIALS = 4
PRIOR_TRIALS = 6
CHANGE_SIGMAS = 3.0
MAX_RATE = 0.98


@dataclass(frozen=True, slots=True)
class AcceptanceSnapshot:
    """Per slot (short mean, long mean, trials), and the engine's mean and trials."""

    slots: tuple[tuple[float, float, float], ...]
    pool: tuple[float, float]


class Acceptance:
    """Estimates by slot, as arrays."""

    def __init__(self, slots: int) -> None:
        self._short = np.zeros(slots)
        self._long = np.zeros(slots)
        self._trials = np.zeros(slots)
        self._pool_rate = 0.0
        self._pool_trials = 0.0

    def start(self, slot: int) -> None:
        """Begin with a new request in `slot`."""
        self._short[slot] = self._long[slot] = self._pool_rate
        self._trials[slot] = min(self._pool_trials, PRIOR_TRIALS)

    def rates(self, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the probability that a draft token of each slot is accepted when those before it were."""
        return np.minimum(self._long[slots], MAX_RATE)

    def stable(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which of the rates may be relied on."""
        return self._trials[slots] >= MIN_TRIALS

    def observe(self, slots: NDArray[np.int64], drafted: NDArray[np.int64], accepted: NDArray[np.int64]) -> None:
        """Learn from verified rows, at least one draft each; no slot twice."""
        trials = (accepted + (accepted < drafted)).astype(np.float64)
        fraction = accepted / trials
        counts = self._trials[slots] + trials
        for mean, window in ((self._short, SHORT_WINDOW), (self._long, LONG_WINDOW)):
            mean[slots] += trials / np.clip(counts, trials, window) * (fraction - mean[slots])
        self._trials[slots] = np.minimum(counts, LONG_WINDOW)
        self._forget_where_changed(slots)
        self._observe_pool(float(trials.sum()), float(accepted.sum()))

    def _forget_where_changed(self, slots: NDArray[np.int64]) -> None:
        # A mean of weight 1/n varies as that of 2n - 1 trials does. One success and one failure more keep the variance
        # of a rate near 0 or 1 from vanishing.
        trials = 2 * SHORT_WINDOW - 1
        rate = (self._long[slots] * SHORT_WINDOW + 1) / (SHORT_WINDOW + 2)
        bound = CHANGE_SIGMAS * np.sqrt(rate * (1 - rate) / trials)
        changed = slots[np.abs(self._short[slots] - self._long[slots]) > bound]
        self._long[changed] = self._short[changed]
        self._trials[changed] = 0

    def _observe_pool(self, trials: float, accepted: float) -> None:
        if trials:
            self._pool_trials = min(self._pool_trials + trials, POOL_WINDOW)
            gain = min(trials / self._pool_trials, 1.0)
            self._pool_rate += gain * (accepted / trials - self._pool_rate)

    def snapshot(self) -> AcceptanceSnapshot:
        """Return the estimates as plain values."""
        columns = (self._short.tolist(), self._long.tolist(), self._trials.tolist())
        return AcceptanceSnapshot(tuple(zip(*columns, strict=True)), (self._pool_rate, self._pool_trials))

    def restore(self, snapshot: AcceptanceSnapshot) -> None:
        """Take over the estimates of a table of the same size."""
        self._short[:], self._long[:], self._trials[:] = np.array(snapshot.slots).T
        self._pool_rate, self._pool_trials = snapshot.pool
