"""Status conditions as planners state them, and the Events that a change of them is worth.

A verdict becomes a condition when it is merged with what stands in the cluster: the time of the last transition is
kept unless the status flips, so that a status is written only when its meaning changes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tierline.api.meta import MESSAGE_LIMIT
from tierline.fleet.moments import rfc3339
from tierline.fleet.observed import Manifest, ObjectIdentity


@dataclass(frozen=True, slots=True)
class Verdict:
    """One statement about an object. `holds` is None when it cannot be known.

    `is_news` is False for what only sums up other verdicts or comes and goes in normal work: no Event tells of it.
    """

    type: str
    holds: bool | None
    reason: str
    message: str
    is_news: bool = True

    @property
    def status(self) -> str:
        return {True: "True", False: "False", None: "Unknown"}[self.holds]


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event to post about the object."""

    type: str
    reason: str
    message: str


def conditions_of(owner: ObjectIdentity, verdicts: Iterable[Verdict], now_ms: int) -> list[dict[str, Any]]:
    """Return the conditions to write, sorted by type."""
    standing = {it["type"]: it for it in owner.conditions}
    merged = (_condition(owner, verdict, standing.get(verdict.type), now_ms) for verdict in verdicts)
    return sorted(merged, key=lambda it: str(it["type"]))


def notices_of(owner: ObjectIdentity, verdicts: Iterable[Verdict]) -> tuple[Notice, ...]:
    """Return what is worth an Event: something that has just gone wrong, or has just been put right."""
    standing = {it["type"]: it for it in owner.conditions}
    return tuple(
        Notice("Normal" if verdict.holds else "Warning", verdict.reason, verdict.message)
        for verdict in verdicts
        if verdict.is_news and _is_news(verdict, standing.get(verdict.type))
    )


def _condition(owner: ObjectIdentity, verdict: Verdict, before: Manifest | None, now_ms: int) -> dict[str, Any]:
    unchanged = before is not None and before.get("status") == verdict.status
    return {
        "type": verdict.type,
        "status": verdict.status,
        "reason": verdict.reason,
        "message": verdict.message[:MESSAGE_LIMIT],
        "lastTransitionTime": before["lastTransitionTime"] if before is not None and unchanged else rfc3339(now_ms),
        "observedGeneration": owner.generation,
    }


def _is_news(verdict: Verdict, before: Manifest | None) -> bool:
    if verdict.holds is None or (before is None and verdict.holds):
        return False
    return before is None or before.get("status") != verdict.status or before.get("reason") != verdict.reason
