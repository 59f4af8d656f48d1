"""The record of a pool's changes as its status holds it."""

from collections.abc import Mapping
from typing import Any

from tierline.fleet.moments import epoch_ms, rfc3339
from tierline.fleet.rollout.steps import Hold, RolloutRecord


def read_record(status: Mapping[str, Any]) -> RolloutRecord:
    """Return what a pool's status remembers; nothing for a new pool."""
    held = status.get("rollout", {})
    return RolloutRecord(
        stable=held.get("stableRevision", ""),
        target=held.get("targetRevision", ""),
        promoted=held.get("promotedRevision", ""),
        rejected=held.get("rejectedRevision", ""),
        rejection=held.get("rejection", ""),
        canaries_ready=held.get("canariesReady") == "True",
        canaries_since_ms=epoch_ms(held.get("canariesSince")),
    )


def record_status(record: RolloutRecord, hold: Hold | None = None) -> Mapping[str, Any]:
    """Return `status.rollout`; what is empty is left out."""
    told: dict[str, Any] = {
        "stableRevision": record.stable,
        "targetRevision": record.target,
        "promotedRevision": record.promoted,
        "rejectedRevision": record.rejected,
        "rejection": record.rejection,
        "canariesReady": "True" if record.canaries_ready else "",
        "canariesSince": "" if record.canaries_since_ms is None else rfc3339(record.canaries_since_ms),
    }
    if hold is not None:
        since = {} if hold.since_ms is None else {"since": rfc3339(hold.since_ms)}
        told["hold"] = {"gate": hold.gate, "reason": hold.reason, "message": hold.message, **since}
    return {name: value for name, value in told.items() if value}
