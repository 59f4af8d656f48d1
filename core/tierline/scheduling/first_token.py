"""How long a request may wait so that its first token still comes in time.

    first_token(P) = s + r*P + margin            from dispatch to first token, P tokens of prompt
    patience(P) = min(max_queue, max(deadline - first_token(P), 0))

s and r follow what dispatched requests really took, by least squares that fade (`FADING` per observation), so that
chunking beside other requests, what waits on a worker and the network are in them. The margin is `MARGINS` mean
absolute residuals, about the 95th percentile of symmetric noise. Before anything was seen, the latency model of a
worker tells how long the prompt alone takes.

Inputs: the tier's deadline and longest wait, prompt length, times from dispatch to first token. Bounds: patience is
never above the tier's `maxQueueMilliseconds`, never negative. When not to use it: where the prompt alone, on an idle
worker, takes longer than the deadline. No admission can defend that target (the fleet says so in its conditions), and
refusing everyone would be worse than serving late: patience is the tier's longest wait then. Rejecting early what would
only be late is Mooncake's (FAST 2025) prediction-based rejection.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.latency import Coefficients

FADING: Final = 0.98
MARGINS: Final = 2.0
_RIDGE: Final = 1e-6
_ENOUGH: Final = 8


class FirstTokenTime:
    """Learns the time from dispatch to first token as a line over the prompt's length."""

    def __init__(self) -> None:
        self._moments: NDArray[np.float64] = np.zeros((2, 2))
        self._products: NDArray[np.float64] = np.zeros(2)
        self._line: NDArray[np.float64] = np.zeros(2)
        self._residual_ms = 0.0
        self._seen = 0

    def learn(self, prompt_tokens: int, elapsed_ms: float) -> None:
        """Take in one request's time."""
        row = np.array((1.0, float(prompt_tokens)))
        if self._seen >= _ENOUGH:
            error = abs(elapsed_ms - float(row @ self._line))
            self._residual_ms += (1 - FADING) * (error - self._residual_ms)
        self._moments = FADING * self._moments + np.outer(row, row)
        self._products = FADING * self._products + row * elapsed_ms
        self._line = np.asarray(np.linalg.solve(self._moments + _RIDGE * np.eye(2), self._products), np.float64)
        self._seen += 1

    def predict_ms(self, prompt_tokens: int, alone_ms: float) -> float:
        """Return the likely upper end of the time for such a prompt, `alone_ms` while too little was seen."""
        if self._seen < _ENOUGH:
            return alone_ms
        line_ms = float(self._line @ (1.0, float(prompt_tokens)))
        return max(line_ms + MARGINS * self._residual_ms, alone_ms)


def alone_ms(latency: Coefficients, prompt_tokens: int) -> float:
    """Return how long an idle worker computes a prompt and its first token."""
    return latency.iteration_ms + latency.chunk_ms(prompt_tokens, 0)


def patience_ms(deadline_ms: float, max_queue_ms: float, first_token_ms: float, prompt_alone_ms: float) -> float:
    """Return how long a request may wait; `deadline_ms` counts from its arrival."""
    if prompt_alone_ms >= deadline_ms:
        return max_queue_ms
    return min(max_queue_ms, max(deadline_ms - first_token_ms, 0.0))
