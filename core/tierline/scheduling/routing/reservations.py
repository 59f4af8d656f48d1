"""What requests that were dispatched will need until they end: blocks, a place in the batch, a pace.

    end(r)  = min(context + quantile(tenant, tier, `PEAK_SHARE`), longest possible) - what is cached of its prompt
    left(r) = max(end(r) - held(r), `LEAST_LEFT_TOKENS`)
    peak    = max over i of (held(1) + ... + held(i) + i * left(i)),  left(1) >= left(2) >= ...

All that run grow by a token an iteration, so the memory is fullest when one of them ends: those with more left hold
what they have now and as many tokens more as that one had left. That is what must fit, not the sum of all ends, which
never come at one time (the Past-Future scheduler, Gong et al., ASPLOS 2025). An end is a likely one, not the longest:
clients ask for thousands of tokens and get hundreds (UELLM, arXiv 2409.14961, predicts lengths for the same reason).
An answer that becomes longer is seen in the worker's used blocks, and in the end the engine makes one yield.

Inputs: dispatches, tokens and ends of one gateway. Bounds: as many entries as requests run; a peak is O(n log n) of
those on one worker. Not for: what other gateways dispatched; their requests are seen only in what workers report.
"""

from collections.abc import Callable, Hashable
from functools import reduce
from math import inf
from typing import Final, TypeVar

import msgspec
import numpy as np

PEAK_SHARE: Final = 0.9
"""This share of answers stays within its reservation."""

LEAST_LEFT_TOKENS: Final = 16
"""So much a request that is longer than expected is believed to have left."""

K = TypeVar("K", bound=Hashable)


class Rivals(msgspec.Struct, frozen=True):
    """Requests on one worker: how many, the tokens they will hold in the end, the tightest pace promised to one."""

    requests: int = 0
    tokens: float = 0.0
    tpot_budget_ms: float = inf

    def blocks(self, block_tokens: int) -> int:
        """Return the blocks they will hold; the last block of each is half full in the mean."""
        return int(self.tokens / block_tokens + self.requests / 2)

    def joined(self, other: "Rivals") -> "Rivals":
        """Return both together."""
        budget_ms = min(self.tpot_budget_ms, other.tpot_budget_ms)
        return Rivals(self.requests + other.requests, self.tokens + other.tokens, budget_ms)


NOBODY: Final = Rivals()


class Reservation(msgspec.Struct, frozen=True):
    """One request's claim: it will have `tokens` of its own in the end, beside `cached_tokens` that others hold too."""

    worker: str
    tenant: str
    priority: int
    tpot_budget_ms: float
    tokens: float
    cached_tokens: int = 0


class Reservations:
    """The claims of all dispatched requests, summed up by worker and by tenant.

    `context_of` says how many tokens a running request has by now, its prompt included.
    """

    def __init__(self, context_of: Callable[[str], int]) -> None:
        self._context_of = context_of
        self._by_id: dict[str, Reservation] = {}
        self._classes: dict[str, dict[tuple[int, float], Rivals]] = {}
        self._rivals: dict[str, dict[int, Rivals]] = {}
        self._tenants: dict[str, Rivals] = {}
        self._on: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def make(self, request_id: str, claim: Reservation) -> None:
        """Reserve for a request that is dispatched; a claim it still has elsewhere goes."""
        self.release(request_id)
        self._by_id[request_id] = claim
        self._on.setdefault(claim.worker, set()).add(request_id)
        self._add(claim, 1)

    def release(self, request_id: str) -> None:
        """Let go of the claim of a request that left its worker; it need not have one."""
        claim = self._by_id.pop(request_id, None)
        if claim is not None:
            self._on[claim.worker].discard(request_id)
            self._add(claim, -1)

    def rivals(self, worker: str, priority: int) -> Rivals:
        """Return the requests on `worker` whose priority is at least this."""
        known = self._rivals.get(worker)
        if known is None:
            if worker not in self._classes:
                return NOBODY
            known = self._rivals[worker] = {}
        if priority not in known:
            found = [group for (rank, _), group in self._classes[worker].items() if rank >= priority]
            known[priority] = reduce(Rivals.joined, found) if found else NOBODY
        return known[priority]

    def peak_tokens(self, worker: str, priority: int, held: float, end: float) -> float:
        """Return the most that the rivals of a request hold there at one time, with it, which has `held` tokens now."""
        claims = ((request_id, self._by_id[request_id]) for request_id in self._on.get(worker, ()))
        rows = [
            (self._context_of(name) - one.cached_tokens, one.tokens) for name, one in claims if one.priority >= priority
        ]
        now, ends = np.array([*rows, (held, end)]).T
        left = ends - now
        left = np.maximum(left, LEAST_LEFT_TOKENS)
        order = np.argsort(-left)
        return float((np.cumsum(now[order]) + np.arange(1, len(order) + 1) * left[order]).max())

    def of_tenant(self, tenant: str) -> Rivals:
        """Return what a tenant's requests hold on all workers."""
        return self._tenants.get(tenant, NOBODY)

    def by_tenant(self) -> dict[str, int]:
        """Return the tokens that each tenant's requests hold on all workers."""
        return {tenant: round(claims.tokens) for tenant, claims in self._tenants.items()}

    def _add(self, claim: Reservation, sign: int) -> None:
        self._rivals.pop(claim.worker, None)
        groups = self._classes.setdefault(claim.worker, {})
        _change(groups, (claim.priority, claim.tpot_budget_ms), claim, sign)
        _change(self._tenants, claim.tenant, claim, sign)
        if not groups:
            del self._classes[claim.worker]
            del self._on[claim.worker]


def _change(sums: dict[K, Rivals], key: K, claim: Reservation, sign: int) -> None:
    known = sums.get(key, NOBODY)
    requests = known.requests + sign
    if requests:
        sums[key] = Rivals(requests, known.tokens + sign * claim.tokens, claim.tpot_budget_ms)
    else:
        del sums[key]
