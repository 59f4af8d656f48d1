"""By how much iterations take longer, all together, than a fit of relative errors says.

    level = sum of measured times / sum of fitted times, over the last iterations, within [1, `MOST`]

Least squares of (fitted - measured) / measured lie below the mean by about twice the errors' variance (2 % for normal
errors of a tenth), since an iteration that happened to be short weighs more than one that happened to be long. And
outliers, which the fit leaves out, take their time as well. Who waits in a queue waits for the sum. That a ratio of
sums removes such a bias is the ratio estimator of Snowdon (Canadian Journal of Forest Research 21, 1991).

Inputs: what the fit said before each iteration, and what it took. Bounds: a device that has slowed down is the fit's
affair, and a lone stall says little, so the level is bounded. When not to use it: for the time that nearly every
iteration keeps; for that there is a margin.
"""

from collections import deque
from typing import Final

WINDOW: Final = 256
MOST: Final = 1.15
EXACT: Final = 1e-6
"""A level as near to 1 as this is 1: a simulated device without noise must not look noisy by rounding."""


class MeanLevel:
    """The level of one engine's iterations, looked up seldom, told of each."""

    def __init__(self) -> None:
        self._fitted_ms: deque[float] = deque(maxlen=WINDOW)
        self._measured_ms: deque[float] = deque(maxlen=WINDOW)

    def add(self, fitted_ms: float, measured_ms: float) -> None:
        """Note what was expected of an iteration and what it took."""
        self._fitted_ms.append(fitted_ms)
        self._measured_ms.append(measured_ms)

    def level(self) -> float:
        """Return the level, 1 before anything was measured."""
        fitted_ms = sum(self._fitted_ms)
        level = sum(self._measured_ms) / fitted_ms if fitted_ms else 1.0
        return min(level, MOST) if level > 1 + EXACT else 1.0
