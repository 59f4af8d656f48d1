"""Merging what is true now into an object's conditions, so that a status is written only when its meaning changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tierline.api.meta import MESSAGE_LIMIT, Condition, ConditionStatus


@dataclass(frozen=True)
class Finding:
    """What a reconciler found out: the part of a condition that does not depend on time."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


def merge_conditions(
    current: Sequence[Condition], findings: Sequence[Finding], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Return `current` with `findings` in it, in the same order, new types last.

    `lastTransitionTime` moves to `now` (aware of its time zone) only where the status flips. Conditions that no
    finding speaks of are kept as they are, so the result equals `current` when nothing has changed.
    """
    former = {condition.type: condition for condition in current}
    merged = {finding.type: _merged(former.get(finding.type), finding, generation, now) for finding in findings}
    return tuple((former | merged).values())


def _merged(former: Condition | None, finding: Finding, generation: int, now: datetime) -> Condition:
    since = former.last_transition_time if former and former.status == finding.status else _rfc3339(now)
    return Condition(
        type=finding.type,
        status=finding.status,
        reason=finding.reason,
        message=finding.message[:MESSAGE_LIMIT],
        last_transition_time=since,
        observed_generation=generation,
    )


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
