"""The course of a drill: wait for a quiet fleet, record, inject, watch, undo, judge.

Safe by default: only a fleet that bears the label `tierline.dev/drills: allowed` is touched, only while it is Ready,
one drill at a time, and once. What will be done is recorded first, injecting and undoing may be repeated, so that
whoever takes over goes on from there; a drill that runs out of time is undone and has failed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum


@dataclass(frozen=True, slots=True)
class TierCounts:
    """Requests of one tier that ended; `missed` and `failed` are parts of them."""

    requests: int = 0
    missed: int = 0
    failed: int = 0

    def since(self, base: "TierCounts") -> "TierCounts":
        """Return what was added; a gateway that was restarted has forgotten, which never counts below nothing."""
        return TierCounts(
            max(0, self.requests - base.requests), max(0, self.missed - base.missed), max(0, self.failed - base.failed)
        )

    @property
    def attainment_percent(self) -> float:
        return 100.0 * (1 - (self.missed + self.failed) / self.requests) if self.requests else 0.0


Counts = Mapping[str, TierCounts]


@dataclass(frozen=True, slots=True)
class Criteria:
    """What must hold; `attainment_percent` by tier."""

    recovery_ms: int
    max_failed: int
    attainment_percent: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """What is remembered of a drill. Times are epoch milliseconds, None for what has not happened.

    `leader` is the operator's replica that began it.
    """

    target: str = ""
    target_uid: str = ""
    leader: str = ""
    started_ms: int | None = None
    recovered_ms: int | None = None
    finished_ms: int | None = None
    baseline: Counts = field(default_factory=dict)
    figures: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Victim:
    """A worker that a fault may hit, and the node that it is on."""

    pod: str
    uid: str
    node: str


@dataclass(frozen=True, slots=True)
class DrillView:
    """Everything that a step depends on.

    `obstacle` says why the drill may not start now, `refused` what the API server said to the injection. `quiet` is
    whether the fleet is as wanted, `victim_gone` whether the worker hit is no more, `leader_since_ms` since when this
    operator, the replica `leader`, leads. `counts` are None when no gateway tells.
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


class DrillAct(Enum):
    """What to do after recording."""

    NOTHING = "Nothing"
    INJECT = "Inject"
    UNDO = "Undo"


@dataclass(frozen=True, slots=True)
class DrillStep:
    """What to record, then do; `verdict` is None while the drill is not judged, else what was not kept."""

    record: DrillRecord
    act: DrillAct = DrillAct.NOTHING
    waits: tuple[str, str] | None = None
    verdict: tuple[str, ...] | None = None


def step_drill(seen: DrillView) -> DrillStep:
    """Return the next step of a drill."""
    record = seen.record
    if record.finished_ms is not None:
        return DrillStep(record, DrillAct.UNDO, verdict=_broken(seen, record))
    started_ms = record.started_ms
    if started_ms is None:
        return _start(seen)
    if seen.refused:
        return DrillStep(replace(record, finished_ms=seen.now_ms), DrillAct.UNDO, verdict=(seen.refused,))
    if record.recovered_ms is None and _has_recovered(seen, started_ms):
        record = replace(record, recovered_ms=seen.now_ms)
    if seen.counts is not None:
        told = {tier: counts.since(record.baseline.get(tier, TierCounts())) for tier, counts in seen.counts.items()}
        record = replace(record, figures=told)
    if _is_over(seen, record, started_ms):
        finished = replace(record, finished_ms=seen.now_ms)
        return DrillStep(finished, DrillAct.UNDO, verdict=_broken(seen, finished))
    waits = ("Running", "The fault is injected; the fleet is being watched.")
    return DrillStep(record, DrillAct.INJECT if _still_to_inject(seen, started_ms) else DrillAct.NOTHING, waits)


def _start(seen: DrillView) -> DrillStep:
    if seen.obstacle is not None:
        return DrillStep(seen.record, waits=seen.obstacle)
    needs_victim = seen.kind in {"SpotReclaim", "WorkerKill"}
    if needs_victim and seen.victim is None:
        return DrillStep(seen.record, waits=("NoWorker", "The fleet has no ready worker that the fault could hit."))
    if seen.criteria.attainment_percent and seen.counts is None:
        return DrillStep(seen.record, waits=("MetricsSilent", "No gateway tells how the tiers' requests fare."))
    hit = seen.victim if needs_victim else None
    record = DrillRecord(
        target="" if hit is None else hit.node if seen.kind == "SpotReclaim" else hit.pod,
        target_uid="" if hit is None else hit.uid,
        leader=seen.leader,
        started_ms=seen.now_ms,
        baseline=seen.counts or {},
    )
    return DrillStep(record, DrillAct.INJECT, ("Running", "The fault is being injected."))


def _still_to_inject(seen: DrillView, started_ms: int) -> bool:
    """Injecting again is harmless, and needed where an operator died between its record and the deed."""
    if seen.kind == "OperatorDown":
        return not _leads_since(seen, started_ms)
    return not seen.victim_gone and seen.now_ms < started_ms + seen.lasts_ms


def _has_recovered(seen: DrillView, started_ms: int) -> bool:
    if seen.kind in {"SpotReclaim", "WorkerKill"}:
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


def _broken(seen: DrillView, record: DrillRecord) -> tuple[str, ...]:
    """Return what was not kept, in sentences without full stops; nothing when the drill has passed."""
    told: list[str] = []
    started_ms, recovered_ms = record.started_ms or 0, record.recovered_ms
    since_ms = started_ms + (0 if seen.kind in {"WorkerKill", "OperatorDown"} else seen.lasts_ms)
    if recovered_ms is None:
        told.append(f"the fleet was not ready again within {seen.criteria.recovery_ms // 1000} s after the fault")
    elif recovered_ms - since_ms > seen.criteria.recovery_ms:
        took, may = (recovered_ms - since_ms) // 1000, seen.criteria.recovery_ms // 1000
        told.append(f"the fleet took {took} s to be ready again, {may} s are allowed")
    failed = sum(counts.failed for counts in record.figures.values())
    if failed > seen.criteria.max_failed:
        told.append(f"{failed} requests failed, {seen.criteria.max_failed} may")
    for tier, wanted in seen.criteria.attainment_percent.items():
        counts = record.figures.get(tier, TierCounts())
        if not counts.requests:
            told.append(f"tier {tier} had no requests, so nothing is known of it")
        elif counts.attainment_percent < wanted:
            told.append(f"tier {tier} attained {counts.attainment_percent:.1f} %, {wanted} % are asked for")
    return tuple(told)
