"""Who gets the accelerators of one kind when there are not enough: higher tiers first, namespaces by their shares.

    1. every pool its minimum, the highest tier first
    2. a pool whose tiers may not be preempted what it holds
    3. tier by tier from the top: worker by worker to the namespace with the least accelerators per unit of its share;
       within it pools keep what they hold, and what is beyond that goes round by turns (`turns`)

A pool that gets fewer than it wants is capped, and gives the rest back by draining as it would when its load fell. So
the lowest tier that may give gives, never below its minimum. Shares are the weights of a namespace's tenants (max-min
fairness by progressive filling: Bertsekas and Gallager 1992).

No ping-pong: a shortage counts after `SHORTAGE_MS`, the time an autoscaler takes to bring nodes; while it lasts caps
only sink; they are lifted when everything wanted has fitted for `CALM_MS`.

Inputs: what pools hold and want, what the cluster has. Bounds: caps are never below a pool's minimum. When not to use
it: for pools without accelerators, whose CPUs kube-scheduler shares well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tierline.fleet.scaling.claims import Claim, PoolKey, Row
from tierline.fleet.scaling.turns import Turns, in_turn, take_turns

SHORTAGE_MS = 60_000
CALM_MS = 120_000


@dataclass(frozen=True, slots=True)
class SharingTimes:
    """How long a shortage must last before it counts, and how long all must have fitted before caps are lifted."""

    shortage_ms: int = SHORTAGE_MS
    calm_ms: int = CALM_MS


USUAL_TIMES = SharingTimes()


@dataclass(frozen=True, slots=True)
class SharingMemory:
    """Caps in force, since when a kind has been short, since when everything has fitted, and whose turn it is."""

    caps: Mapping[PoolKey, int] = field(default_factory=dict)
    short_since_ms: Mapping[str, int] = field(default_factory=dict)
    calm_since_ms: Mapping[str, int] = field(default_factory=dict)
    turns: Turns = field(default_factory=Turns)

    def most(self, key: PoolKey, wanted: int) -> int:
        """Return how many workers of those that it wants a pool may ask for."""
        turn = self.turns.waiting.get(key)
        return min(wanted, self.caps.get(key, wanted), turn.most if turn else wanted)


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
    turns = Turns()
    for kind in sorted({claim.kind for claim in claims if claim.units}):
        mine, room = [claim for claim in claims if claim.kind == kind and claim.units], capacity.get(kind, 0)
        before = {
            claim.key: max(memory.caps[claim.key], claim.low)
            for claim in mine
            if claim.key in memory.caps and claim.may_give
        }
        if sum(claim.wanted * claim.units for claim in mine) <= room:
            calm[kind] = memory.calm_since_ms.get(kind, now_ms)
            caps.update(before if now_ms - calm[kind] < times.calm_ms else {})
            continue
        short[kind] = memory.short_since_ms.get(kind, now_ms)
        lasts = bool(before) or now_ms - short[kind] >= times.shortage_ms
        if lasts:
            caps.update(_caps(mine, before, allocate(mine, room, shares, _orders(mine, memory.turns, now_ms))))
        open_to = [replace(claim, wanted=min(claim.wanted, caps.get(claim.key, claim.wanted))) for claim in mine]
        turns = turns.beside(_turns(open_to, memory.turns, room, shares, lasts=lasts, now_ms=now_ms))
    return SharingMemory(caps, short, calm, turns)


def allocate(
    claims: Sequence[Claim], capacity: int, shares: Mapping[str, int], orders: Sequence[Sequence[Claim]] = ()
) -> dict[PoolKey, int]:
    """Return the workers that each pool gets of `capacity` accelerators; equals get what is free in their order."""
    by_rank = sorted(claims, key=lambda claim: (-claim.priority, claim.key))
    given = dict.fromkeys((claim.key for claim in claims), 0)
    left = capacity
    for floors in ({it.key: it.low for it in claims}, {it.key: 0 if it.may_give else it.held for it in claims}):
        for claim in by_rank:
            lacking = max(min(floors[claim.key], claim.wanted) - given[claim.key], 0)
            more = min(lacking, left // claim.units)
            given[claim.key] += more
            left -= more * claim.units
    places = {claim.key: place for order in orders for place, claim in enumerate(order)}
    for priority in sorted({claim.priority for claim in claims}, reverse=True):
        left = _fill([claim for claim in by_rank if claim.priority == priority], given, left, shares, places)
    return given


def _fill(
    claims: Sequence[Claim],
    given: dict[PoolKey, int],
    left: int,
    shares: Mapping[str, int],
    places: Mapping[PoolKey, int],
) -> int:
    """Give worker by worker to the namespace that has least for its share; returns what is left."""
    units: dict[str, int] = {}
    for claim in claims:
        units[claim.namespace] = units.get(claim.namespace, 0) + given[claim.key] * claim.units

    def rank(claim: Claim) -> tuple[float, str, int, int, PoolKey]:
        beyond = max(given[claim.key] - claim.held + 1, 0)
        place = places.get(claim.key, len(places)) if beyond else 0
        return (units[claim.namespace] / _share(shares, claim), claim.namespace, beyond, place, claim.key)

    while hungry := [claim for claim in claims if given[claim.key] < claim.wanted and claim.units <= left]:
        served = min(hungry, key=rank)
        given[served.key] += 1
        units[served.namespace] += served.units
        left -= served.units
    return left


def _turns(
    claims: Sequence[Claim], before: Turns, capacity: int, shares: Mapping[str, int], *, lasts: bool, now_ms: int
) -> Turns:
    orders = _orders(claims, before, now_ms)
    given = allocate(claims, capacity, shares, orders)
    turns = Turns()
    for order in orders:
        turns = turns.beside(take_turns(order, before, given, lasts=lasts, now_ms=now_ms))
    return turns


def _orders(claims: Sequence[Claim], before: Turns, now_ms: int) -> tuple[tuple[Claim, ...], ...]:
    """Return the order of each row."""
    rows: dict[Row, list[Claim]] = {}
    for claim in claims:
        rows.setdefault(claim.row, []).append(claim)
    return tuple(in_turn(row, before, now_ms) for row in rows.values())


def _share(shares: Mapping[str, int], claim: Claim) -> int:
    return max(shares.get(claim.namespace, 1), 1)


def _gives(claim: Claim, cap: int, due: Sequence[Claim]) -> bool:
    others = [it for it in due if it.key != claim.key]
    return any(claim.held > cap or it.row != claim.row for it in others)


def _caps(claims: Sequence[Claim], before: Mapping[PoolKey, int], fair: Mapping[PoolKey, int]) -> dict[PoolKey, int]:
    """Cap whoever wants more than it gets while somebody else holds less than is due to it.

    Who merely waits for what nobody can give stays free: its pending workers are what an autoscaler looks for. Who
    waits for its turn among equals gives nothing, and needs no cap.
    """
    due = [claim for claim in claims if claim.held < min(claim.wanted, fair[claim.key])]
    caps: dict[PoolKey, int] = {}
    for claim in claims:
        cap = max(fair[claim.key], claim.low)
        if claim.key in before:
            caps[claim.key] = max(min(cap, before[claim.key]), claim.low)
        elif claim.may_give and cap < claim.wanted and _gives(claim, cap, due):
            caps[claim.key] = cap
    return caps
