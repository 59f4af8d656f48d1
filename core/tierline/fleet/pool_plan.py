"""Which worker pods a pool creates, replaces and gives up. Bare pods: the operator decides which one goes.

The rules, in the order in which they are applied:

1. Pods that have ended are cleaned; pods whose node is gone are removed without waiting for anybody.
2. A pod of an old revision, or in the wrong place, that is not ready gives no capacity and goes at once.
3. As many pods are created as are missing; a pod on a doomed node is counted absent. One whose node lives on for much
   longer than a replacement needs is none yet: its notice counts from `2 * start_ms` and a margin before its deadline.
4. Pods in the wrong place, or that no revision's share has room for, are replaced within the rollout's bounds: at
   most `max_surge` pods too many, at least `replicas - max_unavailable` ready ones.
5. Of a revision's surplus those go first that placement gives up, then those not ready, of them first those
   without a node, then the youngest; never a ready one that is needed.
6. A pod on a doomed node is told its deadline, and leaves shortly before it once the others carry the load.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tierline.fleet.census import COOLING_MS, NODE_SIGHT_MS, Census, Doomed, take_census
from tierline.fleet.observed import ObjectIdentity, ObservedNode, ObservedPod
from tierline.fleet.placement.planner import PoolPlacement
from tierline.fleet.placement.spot_notices import LONGEST_LEAD_MS

EVACUATION_MARGIN_MS = 10_000
"""How long before its node's end an evacuated worker is asked to leave: the time its shutdown takes."""


@dataclass(frozen=True, slots=True)
class PoolObservation:
    """A pool and all its pods. `revision` is that of the pods wanted now; None when the spec cannot be used.

    `shares` says how many replicas of which revision there should be while a change is tried; empty means all of
    `revision`. `last_attempt` is the highest attempt number ever recorded: a name is never used twice. `placement` says
    how many pods carry the declared replicas, and which of them are in the wrong place; without one, one each.
    `start_ms` is how long a replacement takes to serve; while that is not known it is started at once.
    """

    pool: ObjectIdentity
    now_ms: int
    replicas: int
    last_attempt: int
    revision: str | None
    pods: tuple[ObservedPod, ...] = ()
    nodes: Mapping[str, ObservedNode] = field(default_factory=dict)
    shares: Mapping[str, int] = field(default_factory=dict)
    max_surge: int = 1
    max_unavailable: int = 0
    placement: PoolPlacement | None = None
    start_ms: int | None = None

    @property
    def wanted(self) -> Mapping[str, int]:
        """Pods by revision; spare ones and stand-ins are of the revision that most replicas have."""
        declared = self.shares or ({} if self.revision is None else {self.revision: self.replicas})
        more = max(self.placement.lanes.total - self.replicas, 0) if self.placement else 0
        if not (declared and more):
            return declared
        main = max(declared, key=lambda revision: declared[revision])
        return {**declared, main: declared[main] + more}

    @property
    def needed(self) -> int:
        """How many ready pods are all that was asked for."""
        return self.replicas if self.placement and self.placement.lanes.total > self.replicas else self.total

    def is_misplaced(self, pod: ObservedPod) -> bool:
        return self.placement is not None and pod.uid in self.placement.misplaced

    def is_given_up(self, pod: ObservedPod) -> bool:
        return self.placement is not None and pod.uid in self.placement.surplus

    @property
    def total(self) -> int:
        """Pods of all revisions: while a change is tried there may be one more than the pool's own number."""
        return sum(self.wanted.values()) if self.wanted else self.replicas


@dataclass(frozen=True, slots=True)
class NewWorker:
    """A pod to create: the number in its name, and the revision that it is made from."""

    attempt: int
    revision: str


@dataclass(frozen=True, slots=True)
class PodRemoval:
    """A pod to delete, and why. `lost_node` is set when its node is gone and nobody is left to confirm its end."""

    name: str
    uid: str
    why: str
    lost_node: str = ""


@dataclass(frozen=True, slots=True)
class Evacuation:
    """The deadline to publish on a pod; None takes back one whose notice is gone."""

    name: str
    uid: str
    deadline_ms: int | None


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What to do for a pool now. `last_attempt` must be recorded before the pods in `workers` are created.

    `wake_at_ms` is the next moment at which time alone changes the plan.
    """

    last_attempt: int
    workers: tuple[NewWorker, ...] = ()
    removals: tuple[PodRemoval, ...] = ()
    evacuations: tuple[Evacuation, ...] = ()
    wake_at_ms: int | None = None

    @property
    def attempts(self) -> tuple[int, ...]:
        return tuple(worker.attempt for worker in self.workers)

    @property
    def is_empty(self) -> bool:
        return not (self.workers or self.removals or self.evacuations)


def plan_pool(seen: PoolObservation) -> PoolPlan:
    """Return the pods to create and delete so that the pool gets nearer to what is wanted."""
    last = max([seen.last_attempt, *(pod.attempt for pod in seen.pods)])
    if seen.pool.deleting:
        return PoolPlan(last_attempt=last)
    census = census_of(seen)
    cleaned = _cleaning(census)
    if seen.revision is None:
        return PoolPlan(last_attempt=last, removals=cleaned, evacuations=_evacuations(census))
    sorted_out = _sort_out(census.staying, seen)
    useless = tuple(pod for pod in census.staying if pod in sorted_out.excess and not pod.ready)
    kept = tuple(pod for pod in census.staying if pod not in useless)
    workers = _workers_to_create(sorted_out, kept, len(census.cooling), seen, last)
    removals = (
        *cleaned,
        *_because("there is no share for its revision, or its place is wrong, and it is not ready", useless),
        *_because("more workers than wanted of its revision", _spare(sorted_out, kept, seen)),
        *_departures(census, kept, seen),
    )
    return PoolPlan(
        last_attempt=last + len(workers),
        workers=workers,
        removals=removals,
        evacuations=_evacuations(census),
        wake_at_ms=_next_moment(census, seen),
    )


def census_of(seen: PoolObservation) -> Census:
    """Return the census in which a notice counts once a replacement has to start; one that was told always does."""
    census = take_census(seen.pods, seen.nodes, seen.now_ms)
    early = [
        it.pod for it in census.doomed if it.pod.evacuate_by_ms is None and seen.now_ms < _counts_from_ms(it, seen)
    ]
    if not early:
        return census
    staying = sorted((*census.staying, *early), key=lambda pod: (pod.attempt, pod.name))
    doomed = tuple(it for it in census.doomed if it.pod not in early)
    return replace(census, staying=tuple(staying), doomed=doomed)


def _counts_from_ms(doomed: Doomed, seen: PoolObservation) -> int:
    if seen.start_ms is None:
        return 0
    # Twice: one that fails its first start must have the time for another one.
    return doomed.deadline_ms - max(2 * seen.start_ms + EVACUATION_MARGIN_MS, LONGEST_LEAD_MS)


@dataclass(frozen=True, slots=True)
class _SortedOut:
    """Pods beyond every revision's share, first to go first, and the revisions of which workers are missing."""

    excess: tuple[ObservedPod, ...]
    missing: tuple[str, ...]


def _sort_out(staying: tuple[ObservedPod, ...], seen: PoolObservation) -> _SortedOut:
    wanted = seen.wanted
    excess = [pod for pod in staying if pod.revision not in wanted or seen.is_misplaced(pod)]
    missing: list[str] = []
    for revision, share in wanted.items():
        best_first = sorted(
            (pod for pod in staying if pod.revision == revision and not seen.is_misplaced(pod)),
            key=lambda pod: (seen.is_given_up(pod), not pod.ready, not pod.node, pod.created_ms, pod.attempt),
        )
        excess += best_first[share:]
        missing += [revision] * (share - len(best_first))
    in_order = sorted(excess, key=lambda pod: (pod.revision in wanted, pod.ready, -pod.created_ms, -pod.attempt))
    return _SortedOut(tuple(in_order), tuple(missing))


def _workers_to_create(
    sorted_out: _SortedOut, kept: tuple[ObservedPod, ...], cooling: int, seen: PoolObservation, last: int
) -> tuple[NewWorker, ...]:
    rolling = any(pod in kept for pod in sorted_out.excess)
    room = seen.total + (seen.max_surge if rolling else 0) - len(kept) - cooling
    made = sorted_out.missing[: max(0, room)]
    return tuple(NewWorker(last + number, revision) for number, revision in enumerate(made, start=1))


def _spare(sorted_out: _SortedOut, kept: tuple[ObservedPod, ...], seen: PoolObservation) -> tuple[ObservedPod, ...]:
    """Return the excess pods that are ready and not needed: enough others are ready."""
    rolling = sorted_out.missing or any(pod.revision not in seen.wanted for pod in sorted_out.excess)
    floor = seen.replicas - (seen.max_unavailable if rolling else 0)
    spare = max(0, sum(pod.ready for pod in kept) - floor)
    return tuple(pod for pod in sorted_out.excess if pod.ready)[:spare]


def _departures(census: Census, kept: tuple[ObservedPod, ...], seen: PoolObservation) -> Iterable[PodRemoval]:
    others_ready = sum(pod.ready for pod in kept) >= seen.replicas
    for it in census.doomed:
        if not it.pod.ready:
            yield PodRemoval(it.pod.name, it.pod.uid, "its node is about to be reclaimed and it is not ready")
        elif others_ready and seen.now_ms >= _leave_at_ms(it):
            yield PodRemoval(it.pod.name, it.pod.uid, "its node is about to be reclaimed and its replacement is ready")


def _leave_at_ms(doomed: Doomed) -> int:
    return doomed.deadline_ms - EVACUATION_MARGIN_MS


def _cleaning(census: Census) -> tuple[PodRemoval, ...]:
    lost = (PodRemoval(pod.name, pod.uid, "its node is gone", pod.node) for pod in census.orphaned)
    return (*_because("it has ended", census.finished), *lost)


def _because(why: str, pods: Iterable[ObservedPod]) -> tuple[PodRemoval, ...]:
    return tuple(PodRemoval(pod.name, pod.uid, why) for pod in pods)


def _evacuations(census: Census) -> tuple[Evacuation, ...]:
    told = (
        Evacuation(it.pod.name, it.pod.uid, it.deadline_ms)
        for it in census.doomed
        if it.pod.evacuate_by_ms != it.deadline_ms
    )
    taken_back = (Evacuation(pod.name, pod.uid, None) for pod in census.staying if pod.evacuate_by_ms is not None)
    return (*told, *taken_back)


def _next_moment(census: Census, seen: PoolObservation) -> int | None:
    leaving = [_leave_at_ms(it) for it in census.doomed]
    announced = [_counts_from_ms(it, seen) for it in take_census(seen.pods, seen.nodes, seen.now_ms).doomed]
    cooled = [(pod.finished_ms or pod.created_ms) + COOLING_MS for pod in census.cooling]
    unknown_nodes = [
        pod.scheduled_ms + NODE_SIGHT_MS + 1
        for pod in seen.pods
        if pod.node and pod.node not in seen.nodes and pod.scheduled_ms is not None
    ]
    return min(
        (moment for moment in (*leaving, *announced, *cooled, *unknown_nodes) if moment > seen.now_ms), default=None
    )
