"""How far above its prediction an iteration may come out, for promises that hold for its tail.

    residual = (elapsed - predicted) / elapsed
    margin   = r / (1 - r),  r the k-th smallest of the last n residuals,  k = ceil((n + 1) * 0.99)

The bound of split conformal prediction (Lei et al., JASA 113, 2018): if past and next residuals could have come in any
order, the next lies below it with 99 %, however they are distributed. The mean or the 95th percentile of an error say
nothing of a 99th: errors of a shared CPU have a long upper tail.

Inputs: residuals of iterations of one kind, since others' are smaller. Bounds: 0 to `MAX_MARGIN`; a device that is slow
for a while is not exchangeable, and what lies beyond the bound then comes in a row. Not for means: it overstates them.
"""

import math
from bisect import bisect_left, insort
from collections import deque

COVERAGE = 0.99
WINDOW = 256
LEAST_RESIDUALS = 16
"""With fewer nothing can be said of a tail."""
MAX_MARGIN = 0.5
_MAX_RESIDUAL = MAX_MARGIN / (1 + MAX_MARGIN)


class TailMargin:
    """The margin over the last residuals."""

    def __init__(self) -> None:
        self._residuals: deque[float] = deque()
        self._ordered: list[float] = []

    def add(self, residual: float) -> None:
        """Take in `(elapsed - predicted) / elapsed` of an iteration, which is always below 1."""
        if len(self._residuals) == WINDOW:
            del self._ordered[bisect_left(self._ordered, self._residuals.popleft())]
        self._residuals.append(residual)
        insort(self._ordered, residual)

    def above(self, least: float) -> float:
        """Return the margin; before it is known, `least`."""
        count = len(self._ordered)
        if count < LEAST_RESIDUALS:
            return least
        rank = min(math.ceil((count + 1) * COVERAGE), count)
        residual = min(max(self._ordered[rank - 1], 0.0), _MAX_RESIDUAL)
        return residual / (1 - residual)
