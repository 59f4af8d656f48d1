"""A drill's record as its status holds it, and what it says about itself."""

from collections.abc import Mapping
from typing import Any

from tierline.fleet.drills.steps import Counts, DrillRecord, DrillStep, TierCounts
from tierline.fleet.moments import epoch_ms, rfc3339
from tierline.fleet.observed import ObjectIdentity
from tierline.fleet.verdicts import Verdict, conditions_of


def read_drill(status: Mapping[str, Any]) -> DrillRecord:
    """Return what a drill's status remembers."""
    return DrillRecord(
        target=status.get("target", ""),
        target_uid=status.get("targetUid", ""),
        leader=status.get("leader", ""),
        started_ms=epoch_ms(status.get("started")),
        recovered_ms=epoch_ms(status.get("recovered")),
        finished_ms=epoch_ms(status.get("finished")),
        baseline=_read_counts(status.get("baseline", ())),
        figures=_read_counts(status.get("figures", ())),
    )


def drill_verdicts(step: DrillStep) -> tuple[Verdict, ...]:
    """Return the drill's conditions: has it begun, is it over, has it passed."""
    reason, message = step.waits or ("Finished", "The fault is undone.")
    started = step.record.started_ms is not None
    injected = Verdict("Injected", started, reason if not started else "Injected", message)
    accepted = Verdict("Accepted", True, "Valid", "The spec is valid.")
    if step.verdict is None:
        passed = Verdict("Passed", None, reason, message, is_news=False)
    elif step.verdict:
        passed = Verdict("Passed", False, "NotKept", f"{'; '.join(step.verdict)}.".capitalize())
    else:
        passed = Verdict("Passed", True, "Kept", "Everything that was asked for held.")
    ready = Verdict("Ready", passed.holds, passed.reason, passed.message, is_news=False)
    return (accepted, injected, passed, ready)


def refused_verdicts(reason: str, message: str) -> tuple[Verdict, ...]:
    """Return the conditions of a drill whose spec cannot be used."""
    return (
        Verdict("Accepted", False, reason, message),
        Verdict("Ready", False, reason, message, is_news=False),
    )


def drill_status(
    owner: ObjectIdentity, record: DrillRecord, verdicts: tuple[Verdict, ...], now_ms: int
) -> Mapping[str, Any]:
    """Return the status to write; what has not happened is left out."""
    moments = {"started": record.started_ms, "recovered": record.recovered_ms, "finished": record.finished_ms}
    told: dict[str, Any] = {name: rfc3339(moment) for name, moment in moments.items() if moment is not None}
    if record.started_ms is not None and record.recovered_ms is not None:
        told["recoverySeconds"] = (record.recovered_ms - record.started_ms) // 1000
    texts = {"target": record.target, "targetUid": record.target_uid, "leader": record.leader}
    lists = {"baseline": _written(record.baseline), "figures": _written(record.figures)}
    return {
        **{name: value for name, value in (texts | lists).items() if value},
        **told,
        "observedGeneration": owner.generation,
        "conditions": conditions_of(owner, verdicts, now_ms),
    }


def _read_counts(listed: Any) -> Counts:
    return {it["tierRef"]: TierCounts(it.get("requests", 0), it.get("missed", 0), it.get("failed", 0)) for it in listed}


def _written(counts: Counts) -> list[dict[str, Any]]:
    return [
        {"tierRef": tier, "requests": it.requests, "missed": it.missed, "failed": it.failed}
        for tier, it in sorted(counts.items())
    ]
