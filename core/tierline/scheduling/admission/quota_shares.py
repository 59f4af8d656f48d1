"""Which part of a tenant's quota each of several gateways enforces, so that together they enforce the whole.

    share of gateway g = (RESERVED / n + asked_g / sum of asked) / (RESERVED + 1)

with `asked` what the tenant asked each gateway for lately and n the number of gateways. The reserved part lets a
gateway take a tenant's first request at once. Limits per minute are split by share; each gateway keeps a bucket of its
part, and when its share changes the bucket's level changes with its size, so that what was used stays used. Requests at
a time are those that still may run, in equal parts rounded up.

Bounds: shares that all gateways compute from one view sum to 1. When a tenant's traffic moves, gateways that take over
may give at most the share that moved once more within that minute; what that overdraws, the others' buckets lack
afterwards. Requests at a time exceed the limit by at most n - 1, and by what was admitted since the last exchange. The
share of a gateway that is not heard of any more falls to the others. Without a view of the others (`LOCAL`) each
enforces limit / known gateways. A budget of money is not split: what all spent is known to each (`spending`). A share
of the KV cache is each gateway's own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from tierline.scheduling.admission.quota import QuotaLimits

RESERVED: Final = 0.1


@dataclass(frozen=True, slots=True)
class QuotaShare:
    """A gateway's part: of limits per minute `part` (0 to 1], and what the others run of requests at a time."""

    part: float = 1.0
    running_elsewhere: int = 0
    gateways: int = 1

    def of(self, limits: QuotaLimits, running_here: int) -> QuotaLimits:
        """Return the limits that this gateway enforces."""
        if self.gateways == 1:
            return limits
        return replace(
            limits,
            tokens_per_minute=_part(limits.tokens_per_minute, self.part),
            requests_per_minute=_part(limits.requests_per_minute, self.part),
            max_concurrent_requests=self._at_a_time(limits.max_concurrent_requests, running_here),
        )

    def _at_a_time(self, limit: int | None, running_here: int) -> int | None:
        if limit is None:
            return None
        free = max(limit - running_here - self.running_elsewhere, 0)
        return running_here + ceil(free / self.gateways)


def quota_share(asked_here: float, asked_elsewhere: Iterable[float], running_elsewhere: int) -> QuotaShare:
    """Return the share of a gateway; `asked_elsewhere` has an entry for each other one, 0 where nothing was asked."""
    others = list(asked_elsewhere)
    gateways, total = 1 + len(others), asked_here + sum(others)
    asked = asked_here / total if total > 0 else 1 / gateways
    return QuotaShare((RESERVED / gateways + asked) / (1 + RESERVED), running_elsewhere, gateways)


def local_share(known_gateways: int) -> QuotaShare:
    """Return what each enforces while it does not know what the others do."""
    return QuotaShare(1 / known_gateways, 0, known_gateways)


def _part(limit: int | None, part: float) -> int | None:
    return None if limit is None else max(int(limit * part), 1)
