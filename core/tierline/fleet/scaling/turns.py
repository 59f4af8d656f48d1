"""Whose turn it is: which of several equal pools gets the next accelerator when there are not enough of them.

    turn = the pool whose group `empty_order` names: the earliest due of those that a new worker can still help,
           now + start <= due; then the earliest of the others; then pools for which nothing waits, by name

A group is what waits for a fleet at one tier, due when its first request is; groups of higher tiers come first. It is
QLM's order of groups (Patke et al., arXiv 2407.00047) where an accelerator changes its model by a worker that ends and
another that starts: one that is free has no model, so there is no stay, and a change costs what the next worker takes
to start (learned, by model, kind and warmth). All of a group's work is not asked to end by the time its first request
is due, as QLM's would be, whose groups have one deadline: that gave up groups most of which could be helped (effect Q2:
1 to 2 points less).

Who has its turn gets what is free or comes back; the others of its row keep what they hold, and their further workers
are not even asked for while an accelerator is due to somebody else, or once the shortage has lasted (an autoscaler has
seen them by then): kube-scheduler would give it to whoever is first there.

No ping-pong: nothing that is held is taken; a turn lasts `TURN_MS` while its pool gets nothing, however deadlines move;
and who has not taken what was due to it for `OFFER_MS` (no node fits, others hold it) comes last and holds up nobody.

Inputs: claims of one row, what was decided before. Bounds: a hold is never below what a pool holds, nor below its
minimum. When not to use it: between tiers or namespaces, whose order is `sharing`'s.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tierline.fleet.scaling.claims import Claim, PoolKey, Row
from tierline.scheduling.queueing.group_order import RequestGroup, empty_order

TURN_MS: Final = 30_000
OFFER_MS: Final = 120_000


@dataclass(frozen=True, slots=True)
class Since:
    """A pool that was named, or to which an accelerator has been due, since when, and what it held then."""

    key: PoolKey
    at_ms: int
    held: int

    def is_still(self, claim: Claim) -> bool:
        return claim.is_hungry and claim.key == self.key and claim.held == self.held


@dataclass(frozen=True, slots=True)
class Turn:
    """What a pool may have until its turn has come, and which pool comes before it."""

    most: int
    after: str


@dataclass(frozen=True, slots=True)
class Turns:
    """Whose turn it is by row, to whom an accelerator is due, and who has to wait meanwhile."""

    named: Mapping[Row, Since] = field(default_factory=dict)
    offers: Mapping[PoolKey, Since] = field(default_factory=dict)
    waiting: Mapping[PoolKey, Turn] = field(default_factory=dict)

    def beside(self, other: "Turns") -> "Turns":
        """Return both, of different rows."""
        waiting = {**self.waiting, **other.waiting}
        return Turns({**self.named, **other.named}, {**self.offers, **other.offers}, waiting)


def in_turn(row: Sequence[Claim], before: Turns, now_ms: int) -> tuple[Claim, ...]:
    """Return those of a row that want more than they hold, in the order in which they get it."""
    hungry = [claim for claim in row if claim.is_hungry]
    order = _by_groups(hungry, now_ms)
    last = before.named.get(row[0].row) if row else None

    def place(claim: Claim) -> tuple[bool, bool]:
        keeps = last is not None and last.is_still(claim) and now_ms - last.at_ms < TURN_MS
        return (_stands_aside(claim, before, now_ms), not keeps)

    return tuple(sorted(order, key=place))


def take_turns(
    order: Sequence[Claim], before: Turns, given: Mapping[PoolKey, int], *, lasts: bool, now_ms: int
) -> Turns:
    """Return the turns of one row: `order` is `in_turn`'s, `given` the workers that its pools get.

    `lasts` says that the shortage has lasted, so that what comes back is kept for whose turn it is.
    """
    if not order:
        return Turns()
    offers = dict(_offers(order, before, given, now_ms))
    due = {key for key, offer in offers.items() if now_ms - offer.at_ms < OFFER_MS}
    first = order[0]
    keeps = lasts and not _stands_aside(first, before, now_ms)
    waiting: dict[PoolKey, Turn] = {}
    for claim in order:
        other = next((it for it in order if it.key in due and it is not claim), first if keeps else claim)
        most = max(given[claim.key], claim.held, claim.low)
        if most < claim.wanted and other is not claim:
            waiting[claim.key] = Turn(most, other.key[1])
    last = before.named.get(first.row)
    named = last if last is not None and last.is_still(first) else Since(first.key, now_ms, first.held)
    return Turns({first.row: named}, offers, waiting)


def _by_groups(claims: Iterable[Claim], now_ms: int) -> tuple[Claim, ...]:
    left, order = {claim.key[1]: claim for claim in claims}, list[Claim]()
    for priority in sorted({it.priority for claim in left.values() for it in claim.queue}, reverse=True):
        groups = [group for claim in left.values() if (group := _group(claim, priority)) is not None]
        order += [left.pop(group.name) for group in empty_order(groups, now_ms)]
    return (*order, *sorted(left.values(), key=lambda claim: claim.key))


def _group(claim: Claim, priority: int) -> RequestGroup | None:
    """Return what waits for a pool at tiers of a priority."""
    due_ms = [it.due_ms for it in claim.queue if it.priority == priority]
    name = claim.key[1]
    return RequestGroup(name, name, min(due_ms), claim.start_ms) if due_ms else None


def _offers(
    order: Iterable[Claim], before: Turns, given: Mapping[PoolKey, int], now_ms: int
) -> Iterable[tuple[PoolKey, Since]]:
    """Yield to whom accelerators are due; who did not take one is remembered while it holds as many as then."""
    for claim in order:
        offer = before.offers.get(claim.key)
        if offer is None or not offer.is_still(claim):
            offer = Since(claim.key, now_ms, claim.held)
        if given[claim.key] > claim.held or now_ms - offer.at_ms >= OFFER_MS:
            yield claim.key, offer


def _stands_aside(claim: Claim, before: Turns, now_ms: int) -> bool:
    """Say whether a pool has long not taken what was due to it."""
    offer = before.offers.get(claim.key)
    return offer is not None and offer.is_still(claim) and now_ms - offer.at_ms >= OFFER_MS
