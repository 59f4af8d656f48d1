"""How much of what a tenant's tokens cost falls into any one day.

    spent(now) = costs booked in the last `HOURS` whole hours and the one that runs

Money is counted in millionths of a cent, in which a price per million tokens is a whole number for each token, so sums
are exact. The day is a window that moves: whoever waits for midnight cannot spend two budgets within an hour of it.

Inputs: costs by `api.token_prices`, a clock. Bounds: `HOURS + 1` numbers a tenant. When not to use it: as a bill. It is
kept in memory and says what may still be spent; what was billed are the counters of delivered tokens.
"""

from collections import deque
from typing import Final

HOUR_MS: Final = 3_600_000.0
HOURS: Final = 24
MICROCENTS: Final = 1_000_000


class DayOfSpending:
    """Costs of the last day, in millionths of a cent, by hour."""

    def __init__(self) -> None:
        self._hours: deque[tuple[int, int]] = deque()

    def spend(self, microcents: int, now_ms: float) -> None:
        hour = int(now_ms // HOUR_MS)
        before = self._hours.pop()[1] if self._hours and self._hours[-1][0] == hour else 0
        self._hours.append((hour, before + microcents))
        self._forget(now_ms)

    def spent(self, now_ms: float) -> int:
        self._forget(now_ms)
        return sum(cost for _, cost in self._hours)

    def wait_ms(self, microcents: int, now_ms: float) -> float:
        """Return how long until `microcents` of what was spent are out of the day; all that is if it is less."""
        self._forget(now_ms)
        left, at_ms = microcents, now_ms
        for hour, cost in self._hours:
            if left <= 0:
                break
            left -= cost
            at_ms = (hour + HOURS + 1) * HOUR_MS
        return max(at_ms - now_ms, 0.0)

    def _forget(self, now_ms: float) -> None:
        while self._hours and (self._hours[0][0] + HOURS + 1) * HOUR_MS <= now_ms:
            self._hours.popleft()
