"""Where a request stood in the order of service at the moment it was served: kept by reference, told on demand.

    eligible = counter <= lowest + allowed difference          slack = latest start - now

`why_before` says for two served requests what put the one before the other, by the rules of the queue in their order:
moved streams, priority, the tail guard, fairness among tenants, deadlines, the line of one tenant.
"""

from enum import StrEnum

import msgspec

from tierline.scheduling.queueing.queued import QueuedRequest


class Turn(StrEnum):
    """Which rule gave a request its turn."""

    MOVED = "MovedStream"
    GUARD = "TailGuard"
    ORDER = "Order"


class Cause(StrEnum):
    """What put one request before another."""

    MOVED = "its stream had lost its worker"
    PRIORITY = "its tier has a higher priority"
    GUARD = "its lower tier was late and had its guaranteed turn"
    FIT = "it fitted a worker, this one did not yet"
    LINE = "the same tenant's request, due earlier"
    SERVICE = "its tenant had been served less"
    DEADLINE = "its first token was due earlier"


class Standing(msgspec.Struct, frozen=True):
    """A served request, which rule gave it its turn, and what the rules saw. Times are the queue's clock.

    `counter` is its tenant's, `lowest` that of the tenants that wait in its priority. `waiting` counts the whole queue,
    `waiting_band` its priority, itself included.
    """

    queued: QueuedRequest
    turn: Turn
    now_ms: float
    counter: float
    lowest: float
    waiting: int
    waiting_band: int

    @property
    def eligible(self) -> bool:
        """Whether its tenant was within the difference that it is allowed."""
        return self.counter <= self.lowest + self.queued.service_difference_tokens

    @property
    def slack_ms(self) -> float:
        """How much later it could have started."""
        return self.queued.latest_start_ms - self.now_ms


def why_before(other: Standing, mine: Standing) -> Cause:
    """Return why `other` was served before `mine`, which waited then."""
    if other.turn is Turn.MOVED:
        return Cause.MOVED
    if other.queued.priority != mine.queued.priority:
        if other.queued.priority > mine.queued.priority:
            return Cause.PRIORITY
        return Cause.GUARD if other.turn is Turn.GUARD else Cause.FIT
    if other.queued.tenant == mine.queued.tenant:
        return Cause.LINE if other.queued.place < mine.queued.place else Cause.FIT
    # At its own turn the counter is at least what it was then; the lowest one is that of the other's turn.
    over = mine.counter > other.lowest + mine.queued.service_difference_tokens
    if other.eligible and over:
        return Cause.SERVICE
    return Cause.DEADLINE if other.queued.latest_start_ms <= mine.queued.latest_start_ms else Cause.FIT
