"""How long a request will wait behind others, and how sure that is.

    work ahead ~ Normal(sum n_g * mu_g, sum n_g * sigma_g^2)          g: groups of requests alike in tier and length
    wait(z)    = (mean + z * deviation) / throughput + swaps

QLM's estimate (Patke et al., arXiv 2407.00047): one answer's length is hardly known, but the sum of many is nearly
normal, so a wait is predicted the better the more requests are ahead. The throughput is work served over time with a
backlog, averaged over `HORIZON_MS`: answers that began together end together, so intervals between dispatches swing
by an order of magnitude where their average does not move.

Inputs: groups ahead with the mean and deviation of their work (any unit, the same for the throughput), what was served
and when. Bounds: below about fifty requests ahead one long answer decides, and z = 1.64 is the honest figure to tell;
0 is told while no throughput is known. When not to use it: for the time from dispatch to the first token, which is the
latency model's (`first_token`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

HORIZON_MS: Final = 60_000.0
LIKELY: Final = 0.0
SAFE: Final = 1.64
"""How many deviations to add: none for an ETA, the 95th percentile for a promise."""


@dataclass(frozen=True, slots=True)
class WorkAhead:
    """So many requests of a group, each of this mean work and deviation."""

    requests: float
    mean: float
    deviation: float = 0.0


class Moments:
    """Mean and deviation of a group's work, learned from requests that ended; older ones fade."""

    def __init__(self, fading: float = 0.998) -> None:
        self._fading = fading
        self._count = self._sum = self._squares = 0.0

    def learn(self, work: float) -> None:
        """Take in one request."""
        self._count = self._fading * self._count + 1
        self._sum = self._fading * self._sum + work
        self._squares = self._fading * self._squares + work * work

    def ahead(self, requests: float, unknown: float) -> WorkAhead:
        """Return what `requests` of the group amount to, `unknown` each while nothing was learned."""
        if not self._count:
            return WorkAhead(requests, unknown)
        mean = self._sum / self._count
        return WorkAhead(requests, mean, math.sqrt(max(self._squares / self._count - mean * mean, 0.0)))


class Throughput:
    """Work served per millisecond while there was a backlog; None before anything was."""

    def __init__(self, horizon_ms: float = HORIZON_MS) -> None:
        self._horizon_ms = horizon_ms
        self._work = self._elapsed_ms = 0.0
        self._last_ms: float | None = None

    @property
    def per_ms(self) -> float | None:
        return self._work / self._elapsed_ms if self._elapsed_ms > 0 else None

    def served(self, work: float, now_ms: float) -> None:
        """Note that work left the queue; what is first after a pause only starts the clock."""
        if self._last_ms is not None:
            passed_ms = now_ms - self._last_ms
            fading = math.exp(-passed_ms / self._horizon_ms)
            self._work = fading * self._work + work
            self._elapsed_ms = fading * self._elapsed_ms + passed_ms
        self._last_ms = now_ms

    def drained(self) -> None:
        """Note that nothing waits: the time until the next request says nothing about speed."""
        self._last_ms = None


def predicted_wait_ms(
    ahead: Iterable[WorkAhead], throughput_per_ms: float | None, *, z: float = LIKELY, swaps_ms: float = 0.0
) -> float:
    """Return how long what is `ahead` takes; `z` deviations more for a wait that is seldom longer.

    `swaps_ms` is what changing models costs on the way. 0 while no throughput is known: a cold start refuses nobody.
    """
    groups = tuple(ahead)
    if throughput_per_ms is None:
        return swaps_ms
    mean = sum(group.requests * group.mean for group in groups)
    variance = sum(group.requests * group.deviation**2 for group in groups)
    return max(mean + z * math.sqrt(variance), 0.0) / throughput_per_ms + swaps_ms
