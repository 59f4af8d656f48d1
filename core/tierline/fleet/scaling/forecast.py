"""Where a rate goes: Holt's linear trend, for rises only, beyond what chance explains.

    level += A * (x - level),  trend += B * (change of level - trend)             A, B from time constants
    forecast(h) = level + max(trend*h - sqrt(level/TAU), 0)                       at most twice the level

A rise must exceed the standard deviation of a Poisson count over the time constant, so that a quiet service does not
scale on its own noise. A falling trend is not extrapolated: who scales down too early pays with latency.

Inputs: samples of a rate with their times, evenly spaced or not. Bounds: between the level and `LIMIT` times it. When
not to use it: for bursts shorter than a cold start, which no forecast reaches. Holt (1957).
"""

import math
from dataclasses import dataclass

LEVEL_SECONDS = 30.0
TREND_SECONDS = 90.0
LIMIT = 2.0


@dataclass(frozen=True, slots=True)
class Trend:
    """Smoothed rate and its change per second, as of `at_ms`."""

    level: float = 0.0
    per_second: float = 0.0
    at_ms: int | None = None

    def observed(self, rate: float, now_ms: int) -> "Trend":
        """Return the trend after one more sample."""
        if self.at_ms is None or now_ms <= self.at_ms:
            return Trend(rate, 0.0, now_ms)
        seconds = (now_ms - self.at_ms) / 1e3
        expected = max(self.level + self.per_second * seconds, 0.0)
        level = expected + (1 - math.exp(-seconds / LEVEL_SECONDS)) * (rate - expected)
        change = (level - self.level) / seconds
        slope = self.per_second + (1 - math.exp(-seconds / TREND_SECONDS)) * (change - self.per_second)
        return Trend(max(level, 0.0), slope, now_ms)

    def ahead(self, seconds: float) -> float:
        """Return the rate expected in `seconds`, never below the level."""
        rise = self.per_second * seconds - math.sqrt(self.level / LEVEL_SECONDS)
        return min(self.level + max(rise, 0.0), LIMIT * self.level) if self.level else 0.0
