"""How long a request may wait so that its first token still comes in time.

    first_token(P) = s + r*P + margin            from dispatch to first token, P tokens of prompt
    patience(P) = min(max_queue, max(room(P), 0))          room(P): `prompt_lengths`, at most deadline - first_token(P)

s and r follow what dispatched requests really took, by least squares that fade (`FADING` per observation), so that
chunking beside other requests, what waits on a worker and the network are in them. The margin is `MARGINS` mean
absolute residuals, about the 95th percentile of symmetric noise. Before anything was seen, the latency model of a
worker tells how long the prompt alone takes. Each priority has a line of its own: on a worker higher ones go first, so
what a prompt of a low priority waited there says nothing about theirs.

P are the tokens that no worker has cached. Inputs: the tier's deadline and longest wait, P, times from dispatch to
first token. Bounds: patience is
never above the tier's `maxQueueMilliseconds`, never negative. When not to use it: where the prompt alone, on an idle
worker, takes longer than the deadline. No admission can defend that target (the fleet says so in its conditions), and
refusing everyone would be worse than serving late: patience is the tier's longest wait then. Rejecting early what would
only be late is Mooncake's (FAST 2025) prediction-based rejection.
"""

from typing import Final

from tierline.scheduling.latency import Coefficients

FADING: Final = 0.98
MARGINS: Final = 2.0
_RIDGE: Final = 1e-6
_ENOUGH: Final = 8


class FirstTokenTime:
    """Learns the time from dispatch to first token as a line over the prompt's length."""

    def __init__(self) -> None:
        # Fading sums of 1, P, P*P, t and P*t over what was seen; the line is start_ms + token_ms * P.
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)
        self._start_ms = 0.0
        self._token_ms = 0.0
        self._residual_ms = 0.0
        self._seen = 0

    def learn(self, prompt_tokens: int, elapsed_ms: float) -> None:
        """Take in one request's time."""
        if self._seen >= _ENOUGH:
            error = abs(elapsed_ms - self._line_ms(prompt_tokens))
            self._residual_ms += (1 - FADING) * (error - self._residual_ms)
        count, tokens, squares, times, products = self._sums
        count, tokens = FADING * count + 1.0, FADING * tokens + prompt_tokens
        squares, times = FADING * squares + prompt_tokens**2, FADING * times + elapsed_ms
        products = FADING * products + prompt_tokens * elapsed_ms
        self._sums = (count, tokens, squares, times, products)
        count, squares = count + _RIDGE, squares + _RIDGE
        determinant = count * squares - tokens * tokens
        self._start_ms = (squares * times - tokens * products) / determinant
        self._token_ms = (count * products - tokens * times) / determinant
        self._seen += 1

    def predict_ms(self, prompt_tokens: int, alone_ms: float) -> float:
        """Return the likely upper end of the time for such a prompt, `alone_ms` while too little was seen."""
        if self._seen < _ENOUGH:
            return alone_ms
        return max(self._line_ms(prompt_tokens) + MARGINS * self._residual_ms, alone_ms)

    def _line_ms(self, prompt_tokens: int) -> float:
        return self._start_ms + self._token_ms * prompt_tokens


class FirstTokenTimes:
    """One line for each priority that was seen."""

    def __init__(self) -> None:
        self._by_priority: dict[int, FirstTokenTime] = {}

    def learn(self, priority: int, prompt_tokens: int, elapsed_ms: float) -> None:
        """Take in one request's time."""
        self._by_priority.setdefault(priority, FirstTokenTime()).learn(prompt_tokens, elapsed_ms)

    def of(self, priority: int) -> FirstTokenTime:
        """Return what is known of a priority, an empty line when that is nothing."""
        return self._by_priority.get(priority) or FirstTokenTime()


def alone_ms(latency: Coefficients, prompt_tokens: int, cached_tokens: int = 0) -> float:
    """Return how long an idle worker computes `prompt_tokens` after cached ones, and the first token."""
    return latency.iteration_ms + latency.chunk_ms(prompt_tokens, cached_tokens)


def patience_ms(deadline_ms: float, max_queue_ms: float, room_ms: float, prompt_alone_ms: float) -> float:
    """Return how long a request may wait; `deadline_ms` counts from its arrival, `room_ms` is left of it."""
    return max_queue_ms if prompt_alone_ms >= deadline_ms else min(max_queue_ms, max(room_ms, 0.0))
