"""Who gets the accelerators of one kind when there are not enough: higher tiers first, namespaces by their shares.

    1. every pool its minimum, the highest tier first
    2. a pool whose tiers may not be preempted what it holds
    3. tier by tier from the top: worker by worker to the namespace with the least accelerators per unit of its share

A pool that gets fewer than it wants is capped, and gives the rest back by draining as it would when its load fell. So
the lowest tier that may give gives, never below its minimum. Shares are the weights of a namespace's tenants (max-min
fairness by progressive filling: Bertsekas and Gallager 1992).

No ping-pong: a shortage counts after `SHORTAGE_MS`, the time an autoscaler takes to bring nodes; while it lasts caps
only sink; they are lifted when everything wanted has fitted for `CALM_MS`.

Inputs: what pools hold and want, what the cluster has. Bounds: caps are never below a pool's minimum. When not to use
it: for pools without accelerators, whose CPUs kube-scheduler shares well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SHORTAGE_MS = 60_000
CALM_MS = 120_000

PoolKey = tuple[str, str]
"""Namespace and name of a pool."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A pool's claim: `units` accelerators of a kind for each worker, its highest tier's priority, whether all of its
    tiers may be preempted."""

    key: PoolKey
    kind: str
    units: int
    priority: int
    may_give: bool
    low: int
    wanted: int
    held: int

    @property
    def namespace(self) -> str:
        return self.key[0]


@dataclass(frozen=True, slots=True)
class SharingTimes:
    """How long a shortage must last before it counts, and how long all must have fitted before caps are lifted."""

    shortage_ms: int = SHORTAGE_MS
    calm_ms: int = CALM_MS


USUAL_TIMES = SharingTimes()


@dataclass(frozen=True, slots=True)
class SharingMemory:
    """Caps that are in force, since when a kind has been short, and since when everything has fitted."""

    caps: Mapping[PoolKey, int] = field(default_factory=dict)
    short_since_ms: Mapping[str, int] = field(default_factory=dict)
    calm_since_ms: Mapping[str, int] = field(default_factory=dict)


def plan_sharing(
    memory: SharingMemory,
    claims: Sequence[Claim],
    capacity: Mapping[str, int],
    shares: Mapping[str, int],
    *,
    now_ms: int,
    times: SharingTimes = USUAL_TIMES,
) -> SharingMemory:
    """Return the caps to keep from now on; `capacity` are accelerators by kind, `shares` weights by namespace."""
    caps: dict[PoolKey, int] = {}
    short: dict[str, int] = {}
    calm: dict[str, int] = {}
    for kind in sorted({claim.kind for claim in claims if claim.units}):
        mine = [claim for claim in claims if claim.kind == kind and claim.units]
        before = {
            claim.key: max(memory.caps[claim.key], claim.low)
            for claim in mine
            if claim.key in memory.caps and claim.may_give
        }
        if sum(claim.wanted * claim.units for claim in mine) <= capacity.get(kind, 0):
            calm[kind] = memory.calm_since_ms.get(kind, now_ms)
            caps.update(before if now_ms - calm[kind] < times.calm_ms else {})
            continue
        short[kind] = memory.short_since_ms.get(kind, now_ms)
        if before or now_ms - short[kind] >= times.shortage_ms:
            caps.update(_caps(mine, before, allocate(mine, capacity.get(kind, 0), shares)))
    return SharingMemory(caps, short, calm)


def allocate(claims: Sequence[Claim], capacity: int, shares: Mapping[str, int]) -> dict[PoolKey, int]:
    """Return the workers that each pool gets of `capacity` accelerators."""
    by_rank = sorted(claims, key=lambda claim: (-claim.priority, claim.key))
    given = dict.fromkeys((claim.key for claim in claims), 0)
    left = capacity
    for floors in ({it.key: it.low for it in claims}, {it.key: 0 if it.may_give else it.held for it in claims}):
        for claim in by_rank:
            lacking = max(min(floors[claim.key], claim.wanted) - given[claim.key], 0)
            more = min(lacking, left // claim.units)
            given[claim.key] += more
            left -= more * claim.units
    for priority in sorted({claim.priority for claim in claims}, reverse=True):
        left = _fill([claim for claim in by_rank if claim.priority == priority], given, left, shares)
    return given


def _fill(claims: Sequence[Claim], given: dict[PoolKey, int], left: int, shares: Mapping[str, int]) -> int:
    """Give worker by worker to the namespace that has least for its share; returns what is left."""
    units: dict[str, int] = {}
    for claim in claims:
        units[claim.namespace] = units.get(claim.namespace, 0) + given[claim.key] * claim.units
    while True:
        hungry = [claim for claim in claims if given[claim.key] < claim.wanted and claim.units <= left]
        if not hungry:
            return left
        served = min(hungry, key=lambda claim: (units[claim.namespace] / _share(shares, claim), claim.key))
        given[served.key] += 1
        units[served.namespace] += served.units
        left -= served.units


def _share(shares: Mapping[str, int], claim: Claim) -> int:
    return max(shares.get(claim.namespace, 1), 1)


def _caps(claims: Sequence[Claim], before: Mapping[PoolKey, int], fair: Mapping[PoolKey, int]) -> dict[PoolKey, int]:
    """Cap whoever wants more than it gets while somebody else holds less than is due to it.

    Who merely waits for what nobody can give stays free: its pending workers are what an autoscaler looks for.
    """
    due = {claim.key for claim in claims if claim.held < min(claim.wanted, fair[claim.key])}
    caps: dict[PoolKey, int] = {}
    for claim in claims:
        cap = max(fair[claim.key], claim.low)
        if claim.key in before:
            caps[claim.key] = max(min(cap, before[claim.key]), claim.low)
        elif claim.may_give and cap < claim.wanted and due - {claim.key}:
            caps[claim.key] = cap
    return caps
