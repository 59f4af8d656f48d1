"""A drill's record as its status holds it, and what it says about itself."""

import math
from collections.abc import Mapping
from typing import Any

from tierline.fleet.drills.counts import Counts, TierCounts
from tierline.fleet.drills.judging import Check
from tierline.fleet.drills.steps import DrillRecord, DrillStep
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
        flood_base=status.get("flood", {}).get("before", 0),
        flood_requests=status.get("flood", {}).get("requests", 0),
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
    owner: ObjectIdentity,
    record: DrillRecord,
    verdicts: tuple[Verdict, ...],
    now_ms: int,
    checks: tuple[Check, ...] = (),
) -> Mapping[str, Any]:
    """Return the status to write; what has not happened is left out."""
    moments = {"started": record.started_ms, "recovered": record.recovered_ms, "finished": record.finished_ms}
    told: dict[str, Any] = {name: rfc3339(moment) for name, moment in moments.items() if moment is not None}
    if record.started_ms is not None and record.recovered_ms is not None:
        told["recoverySeconds"] = (record.recovered_ms - record.started_ms) // 1000
    texts = {"target": record.target, "targetUid": record.target_uid, "leader": record.leader}
    lists = {
        "baseline": _written(record.baseline),
        "figures": _written(record.figures),
        "checks": [_written_check(it) for it in checks],
    }
    if record.flood_base or record.flood_requests:
        told["flood"] = {"before": record.flood_base, "requests": record.flood_requests}
    return {
        **{name: value for name, value in (texts | lists).items() if value},
        **told,
        "observedGeneration": owner.generation,
        "conditions": conditions_of(owner, verdicts, now_ms),
    }


_NUMBERS = {
    "requests": "requests",
    "missed": "missed",
    "failed": "failed",
    "refused": "refused",
    "lostTokens": "lost_tokens",
    "duplicatedTokens": "duplicated_tokens",
}
_PERCENT = 95


def _read_counts(listed: Any) -> Counts:
    return {it["tierRef"]: _read_tier(it) for it in listed}


def _read_tier(it: Mapping[str, Any]) -> TierCounts:
    numbers = {field: it.get(name, 0) for name, field in _NUMBERS.items()}
    return TierCounts(**numbers, ttft=tuple(it.get("ttftBuckets", ())), tpot=tuple(it.get("tpotBuckets", ())))


def _written(counts: Counts) -> list[dict[str, Any]]:
    return [{"tierRef": tier, **_written_tier(it)} for tier, it in sorted(counts.items())]


def _written_tier(it: TierCounts) -> dict[str, Any]:
    numbers = {name: getattr(it, field) for name, field in _NUMBERS.items()}
    buckets = {"ttftBuckets": list(it.ttft), "tpotBuckets": list(it.tpot)}
    times = {"ttftP95Milliseconds": it.ttft_ms(_PERCENT), "tpotP95Milliseconds": it.tpot_ms(_PERCENT)}
    known = {name: math.ceil(value) for name, value in times.items() if value is not None and math.isfinite(value)}
    return {**numbers, **{name: values for name, values in buckets.items() if values}, **known}


def _written_check(it: Check) -> dict[str, Any]:
    measured = {} if it.measured is None else {"measured": it.measured}
    return {"name": it.name, **measured, "bound": it.bound, "outcome": "Broken" if it.broken else "Kept"}
