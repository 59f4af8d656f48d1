"""How far a change of a pool may go now: canaries first, then, when they have passed, all workers.

One step is a function of what was recorded before, the revision wanted, and what canaries show:

1. Without canaries asked for, or without a serving worker of the stable revision to protect, all workers change.
2. Otherwise `canaryPercent` of the replicas, at least one, try the change beside the stable ones. When canaries are
   not ready for `progressDeadlineSeconds`, or their requests burn their tiers' error budgets (`canary.py`), the change
   is rejected and all workers are of the stable revision again.
3. When canaries have been ready for `holdSeconds` and their requests kept the budgets, the change is promoted.
4. A promoted change that all workers have is the new stable revision. A rejected one stays rejected until the spec
   asks for another revision.

The record is written before anything is done about it, so that whoever takes over goes on from there.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tierline.fleet.observed import ObservedPod
from tierline.fleet.rollout.canary import CanaryFigures, CanaryVerdict, Judgement, judge_canary


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """How careful a pool is with changes. No `canary_percent` means no canaries."""

    canary_percent: int | None = None
    max_surge: int = 1
    max_unavailable: int = 0
    hold_ms: int = 60_000
    progress_deadline_ms: int = 600_000
    min_requests: int = 20


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """What is remembered of a pool's changes; revisions are empty where there is none.

    `canaries_since_ms` is since when `canaries_ready` is what it is, for the change to `target`.
    """

    stable: str = ""
    target: str = ""
    promoted: str = ""
    rejected: str = ""
    rejection: str = ""
    canaries_ready: bool = False
    canaries_since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A change waits at a gate, and why."""

    gate: str
    reason: str
    message: str
    since_ms: int | None


@dataclass(frozen=True, slots=True)
class RolloutView:
    """Everything that a step depends on. `staying` are the pods that the pool can build on."""

    record: RolloutRecord
    wanted: str
    replicas: int
    policy: RolloutPolicy
    staying: tuple[ObservedPod, ...]
    now_ms: int
    figures: CanaryFigures | None = None
    attainment_percent: Mapping[str, int] = field(default_factory=dict)

    def ready(self, revision: str) -> int:
        return sum(pod.ready and pod.revision == revision for pod in self.staying)


@dataclass(frozen=True, slots=True)
class RolloutStep:
    """What to record, how many workers of which revision to have, and what the change waits for, if it waits.

    `wake_at_ms` is when time alone opens or closes a gate.
    """

    record: RolloutRecord
    shares: Mapping[str, int]
    hold: Hold | None = None
    wake_at_ms: int | None = None


def step_rollout(seen: RolloutView) -> RolloutStep:
    """Return how far the change goes now."""
    record = seen.record
    if not record.stable or seen.wanted == record.stable:
        return RolloutStep(RolloutRecord(stable=seen.wanted, target=seen.wanted), _all(seen, seen.wanted))
    if seen.wanted == record.rejected:
        return _rolled_back(seen, record)
    if record.target != seen.wanted:
        record = _begun(seen, record)
    if record.promoted == seen.wanted or seen.policy.canary_percent is None or seen.replicas == 0:
        return _roll_all(seen, replace(record, promoted=seen.wanted))
    return _try_canaries(seen, record)


def canary_count(replicas: int, percent: int) -> int:
    """Return how many of the replicas try a change: the share rounded up, at least one."""
    return max(1, math.ceil(replicas * percent / 100))


def in_canary(record: RolloutRecord, wanted: str | None) -> bool:
    """Say whether figures of canaries are asked for now."""
    return wanted is not None and record.target == wanted not in {record.stable, record.promoted, record.rejected}


def _begun(seen: RolloutView, record: RolloutRecord) -> RolloutRecord:
    # Where nobody of the stable revision serves, there is nothing that canaries would protect.
    promoted = "" if seen.ready(record.stable) else seen.wanted
    return RolloutRecord(stable=record.stable, target=seen.wanted, promoted=promoted, canaries_since_ms=seen.now_ms)


def _roll_all(seen: RolloutView, record: RolloutRecord) -> RolloutStep:
    shares = _all(seen, seen.wanted)
    done = seen.ready(seen.wanted) >= seen.replicas and all(pod.revision == seen.wanted for pod in seen.staying)
    return RolloutStep(RolloutRecord(stable=seen.wanted, target=seen.wanted) if done else record, shares)


def _try_canaries(seen: RolloutView, record: RolloutRecord) -> RolloutStep:
    canaries = canary_count(seen.replicas, seen.policy.canary_percent or 0)
    ready = seen.ready(seen.wanted) >= canaries
    if ready != record.canaries_ready or record.canaries_since_ms is None:
        record = replace(record, canaries_ready=ready, canaries_since_ms=seen.now_ms)
    since_ms = record.canaries_since_ms or seen.now_ms
    verdict = judge_canary(seen.figures, seen.attainment_percent, seen.policy.min_requests)
    if verdict.judgement is Judgement.BURNING:
        return _reject(seen, record, verdict.message)
    # One stable worker stays in any case: a change is never tried by all at once.
    shares = {record.stable: max(1, seen.replicas - canaries), seen.wanted: canaries}
    if not ready:
        return _await_canaries(seen, record, shares, since_ms)
    if seen.now_ms < since_ms + seen.policy.hold_ms:
        message = f"The canaries have to serve for {seen.policy.hold_ms // 1000} s."
        hold = Hold("HoldTime", "Serving", message, since_ms)
        return RolloutStep(record, shares, hold, since_ms + seen.policy.hold_ms)
    return _after_hold(seen, record, shares, verdict)


def _await_canaries(seen: RolloutView, record: RolloutRecord, shares: Mapping[str, int], since_ms: int) -> RolloutStep:
    deadline = since_ms + seen.policy.progress_deadline_ms
    if seen.now_ms >= deadline:
        failure = next((pod.failure for pod in seen.staying if pod.revision == seen.wanted and pod.failure), "")
        told = f" ({failure})" if failure else ""
        seconds = seen.policy.progress_deadline_ms // 1000
        return _reject(seen, record, f"Its canaries were not ready within {seconds} s{told}.")
    ready = f"{seen.ready(seen.wanted)} of {shares[seen.wanted]} canaries are ready."
    return RolloutStep(record, shares, Hold("Canary", "CanariesStarting", ready, since_ms), deadline)


def _after_hold(
    seen: RolloutView, record: RolloutRecord, shares: Mapping[str, int], verdict: CanaryVerdict
) -> RolloutStep:
    if verdict.judgement is Judgement.PASSED:
        return _roll_all(seen, replace(record, promoted=seen.wanted))
    return RolloutStep(record, shares, Hold("Analysis", verdict.reason, verdict.message, record.canaries_since_ms))


def _reject(seen: RolloutView, record: RolloutRecord, why: str) -> RolloutStep:
    rejected = RolloutRecord(
        stable=record.stable,
        target=record.stable,
        rejected=seen.wanted,
        rejection=why,
        canaries_since_ms=seen.now_ms,
    )
    return _rolled_back(seen, rejected)


def _rolled_back(seen: RolloutView, record: RolloutRecord) -> RolloutStep:
    message = f"{record.rejection} All workers are of the revision before; change the spec to try again."
    hold = Hold("Rollback", "RolledBack", message, record.canaries_since_ms)
    return RolloutStep(record, _all(seen, record.stable), hold)


def _all(seen: RolloutView, revision: str) -> Mapping[str, int]:
    return {revision: seen.replicas}
