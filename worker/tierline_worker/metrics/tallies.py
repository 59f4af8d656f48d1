"""Series that one thread writes and another one reads, without a lock: each write is one step of the interpreter.

A reader may see a distribution's newest value in its counts and not yet in its sum; Prometheus' rates do not mind.
"""

from bisect import bisect_left
from collections.abc import Sequence


class Total:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount


class Distribution:
    """Counts of values by bucket: `counts[i]` are those at most `bounds[i]` and above `bounds[i - 1]`; one more
    counts what is above all bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
