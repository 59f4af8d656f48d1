"""The course of a drill: wait for a quiet fleet, record, inject, watch, undo, judge.

Safe by default: only a fleet that bears the label `tierline.dev/drills: allowed` is touched, only while it is Ready,
one drill at a time, and once. What will be done is recorded first, injecting and undoing may be repeated, so that
whoever takes over goes on from there; a drill that runs out of time is undone and has failed.
"""

from dataclasses import dataclass, field, replace
from enum import Enum

from tierline.fleet.drills.counts import Counts, TierCounts
from tierline.fleet.drills.judging import Check, Criteria, checks_of

NEEDS_VICTIM = frozenset({"SpotReclaim", "WorkerKill"})
LASTS_NO_TIME = frozenset({"WorkerKill", "OperatorDown"})
"""Their faults are over when they are done: recovery counts from the start."""


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """What is remembered of a drill. Times are epoch milliseconds, None for what has not happened.

    `leader` is the operator's replica that began it. `flood_base` is how many requests of a flood's tenant had ended
    before, `flood_requests` how many have since.
    """

    target: str = ""
    target_uid: str = ""
    leader: str = ""
    started_ms: int | None = None
    recovered_ms: int | None = None
    finished_ms: int | None = None
    baseline: Counts = field(default_factory=dict)
    figures: Counts = field(default_factory=dict)
    flood_base: int = 0
    flood_requests: int = 0


@dataclass(frozen=True, slots=True)
class Victim:
    """A worker that a fault may hit, and the node that it is on."""

    pod: str
    uid: str
    node: str


@dataclass(frozen=True, slots=True)
class DrillView:
    """Everything that a step depends on.

    `obstacle` says why the drill may not start now, `refused` why one that runs must end: what the API server said to
    the injection, or that the drill is no longer allowed. `quiet` is whether the fleet is as wanted, `victim_gone`
    whether the worker hit is no more, `leader_since_ms` since when this operator, the replica `leader`, leads. `counts`
    are those of the tenants that make no flood, `flooded` how many requests of the one that does have ended; None when
    not every gateway tells.
    """

    kind: str
    lasts_ms: int
    criteria: Criteria
    record: DrillRecord
    now_ms: int
    quiet: bool
    leader: str
    leader_since_ms: int
    obstacle: tuple[str, str] | None = None
    refused: str = ""
    victim: Victim | None = None
    victim_gone: bool = False
    counts: Counts | None = None
    flooded: int | None = None


class DrillAct(Enum):
    """What to do after recording."""

    NOTHING = "Nothing"
    INJECT = "Inject"
    UNDO = "Undo"


@dataclass(frozen=True, slots=True)
class DrillStep:
    """What to record, then do; `verdict` is None while the drill is not judged, else what was not kept.

    `checks` are the figures and bounds that it comes from.
    """

    record: DrillRecord
    act: DrillAct = DrillAct.NOTHING
    waits: tuple[str, str] | None = None
    verdict: tuple[str, ...] | None = None
    checks: tuple[Check, ...] = ()


def step_drill(seen: DrillView) -> DrillStep:
    """Return the next step of a drill."""
    record = seen.record
    if record.finished_ms is not None:
        return _judged(seen, record)
    started_ms = record.started_ms
    if started_ms is None:
        return _start(seen)
    if seen.refused:
        return DrillStep(replace(record, finished_ms=seen.now_ms), DrillAct.UNDO, verdict=(seen.refused,))
    record = _watched(seen, record, started_ms)
    if _is_over(seen, record, started_ms):
        return _judged(seen, replace(record, finished_ms=seen.now_ms))
    waits = ("Running", "The fault is injected; the fleet is being watched.")
    return DrillStep(record, DrillAct.INJECT if _still_to_inject(seen, started_ms) else DrillAct.NOTHING, waits)


def _start(seen: DrillView) -> DrillStep:
    if seen.obstacle is not None:
        return DrillStep(seen.record, waits=seen.obstacle)
    needs_victim = seen.kind in NEEDS_VICTIM
    if needs_victim and seen.victim is None:
        return DrillStep(seen.record, waits=("NoWorker", "The fleet has no ready worker that the fault could hit."))
    if (seen.criteria.tiers or seen.kind == "TenantFlood") and seen.counts is None:
        return DrillStep(seen.record, waits=("MetricsSilent", "No gateway tells how the tiers' requests fare."))
    hit = seen.victim if needs_victim else None
    record = DrillRecord(
        target="" if hit is None else hit.node if seen.kind == "SpotReclaim" else hit.pod,
        target_uid="" if hit is None else hit.uid,
        leader=seen.leader,
        started_ms=seen.now_ms,
        baseline=seen.counts or {},
        flood_base=seen.flooded or 0,
    )
    return DrillStep(record, DrillAct.INJECT, ("Running", "The fault is being injected."))


def _watched(seen: DrillView, record: DrillRecord, started_ms: int) -> DrillRecord:
    """Return the record with what has been seen since."""
    if record.recovered_ms is None and _has_recovered(seen, started_ms):
        record = replace(record, recovered_ms=seen.now_ms)
    if seen.flooded is not None:
        record = replace(record, flood_requests=max(0, seen.flooded - record.flood_base))
    if seen.counts is None:
        return record
    told = {tier: counts.since(record.baseline.get(tier, TierCounts())) for tier, counts in seen.counts.items()}
    return replace(record, figures=told)


def _still_to_inject(seen: DrillView, started_ms: int) -> bool:
    """Injecting again is harmless, and needed where an operator died between its record and the deed."""
    if seen.kind == "OperatorDown":
        return not _leads_since(seen, started_ms)
    return not seen.victim_gone and seen.now_ms < started_ms + seen.lasts_ms


def _has_recovered(seen: DrillView, started_ms: int) -> bool:
    if seen.kind in NEEDS_VICTIM:
        return seen.victim_gone and seen.quiet
    if seen.kind == "OperatorDown":
        return _leads_since(seen, started_ms) and seen.quiet
    return seen.now_ms >= started_ms + seen.lasts_ms and seen.quiet


def _leads_since(seen: DrillView, started_ms: int) -> bool:
    """Say whether this operator took over after the drill had begun; what is recorded is in whole seconds."""
    return seen.leader != seen.record.leader or seen.leader_since_ms // 1000 > started_ms // 1000


def _is_over(seen: DrillView, record: DrillRecord, started_ms: int) -> bool:
    if record.recovered_ms is not None:
        return True
    return seen.now_ms >= started_ms + seen.lasts_ms + seen.criteria.recovery_ms


def _judged(seen: DrillView, record: DrillRecord) -> DrillStep:
    started_ms, recovered_ms = record.started_ms or 0, record.recovered_ms
    since_ms = started_ms + (0 if seen.kind in LASTS_NO_TIME else seen.lasts_ms)
    recovery_ms = None if recovered_ms is None else max(0, recovered_ms - since_ms)
    checks = checks_of(seen.criteria, record.figures, recovery_ms, record.flood_requests)
    return DrillStep(record, DrillAct.UNDO, verdict=tuple(it.broken for it in checks if it.broken), checks=checks)
