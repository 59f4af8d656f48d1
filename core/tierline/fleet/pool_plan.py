"""Which worker pods a pool creates, replaces and gives up. Bare pods: the operator decides which one goes.

The rules, in the order in which they are applied:

1. Pods that have ended are cleaned; pods whose node is gone are removed without waiting for anybody.
2. A pod of an old revision that is not ready gives no capacity and goes at once.
3. As many pods are created as are missing; a pod on a doomed node is counted absent.
4. Ready pods of an old revision are replaced one at a time: first one pod too many, then, when it is ready, one less.
5. Of a surplus the pods of an old revision go first, then those not ready, then the youngest; never a ready one that
   is needed.
6. A pod on a doomed node is told its deadline, and leaves shortly before it once the others carry the load.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tierline.fleet.census import COOLING_MS, NODE_SIGHT_MS, Census, Doomed, take_census
from tierline.fleet.observed import ObjectIdentity, ObservedNode, ObservedPod

EVACUATION_MARGIN_MS = 10_000
"""How long before its node's end an evacuated worker is asked to leave: the time its shutdown takes."""


@dataclass(frozen=True, slots=True)
class PoolObservation:
    """A pool and all its pods. `revision` is that of the pods wanted now; None when the spec cannot be used.

    `last_attempt` is the highest attempt number ever recorded for the pool: a name is never used twice.
    """

    pool: ObjectIdentity
    now_ms: int
    replicas: int
    last_attempt: int
    revision: str | None
    pods: tuple[ObservedPod, ...] = ()
    nodes: Mapping[str, ObservedNode] = field(default_factory=dict)


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
    """What to do for a pool now. `last_attempt` must be recorded before the pods in `attempts` are created.

    `wake_at_ms` is the next moment at which time alone changes the plan.
    """

    last_attempt: int
    attempts: tuple[int, ...] = ()
    removals: tuple[PodRemoval, ...] = ()
    evacuations: tuple[Evacuation, ...] = ()
    wake_at_ms: int | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.attempts or self.removals or self.evacuations)


def plan_pool(seen: PoolObservation) -> PoolPlan:
    """Return the pods to create and delete so that the pool gets nearer to what is wanted."""
    last = max([seen.last_attempt, *(pod.attempt for pod in seen.pods)])
    if seen.pool.deleting:
        return PoolPlan(last_attempt=last)
    census = take_census(seen.pods, seen.nodes, seen.now_ms)
    cleaned = _cleaning(census)
    if seen.revision is None:
        return PoolPlan(last_attempt=last, removals=cleaned, evacuations=_evacuations(census))
    useless = tuple(pod for pod in census.staying if pod.revision != seen.revision and not pod.ready)
    kept = tuple(pod for pod in census.staying if pod not in useless)
    needed = _pods_to_create(kept, len(census.cooling), seen)
    removals = (
        *cleaned,
        *_because("its revision is old and it is not ready", useless),
        *_because("more pods than replicas", _surplus(kept, seen)),
        *_departures(census, kept, seen),
    )
    return PoolPlan(
        last_attempt=last + needed,
        attempts=tuple(range(last + 1, last + needed + 1)),
        removals=removals,
        evacuations=_evacuations(census),
        wake_at_ms=_next_moment(census, seen),
    )


def _pods_to_create(kept: tuple[ObservedPod, ...], cooling: int, seen: PoolObservation) -> int:
    missing = seen.replicas - len(kept) - cooling
    if missing > 0:
        return missing
    rolling = any(pod.revision != seen.revision for pod in kept)
    return 1 if rolling and len(kept) == seen.replicas and cooling == 0 else 0


def _surplus(kept: tuple[ObservedPod, ...], seen: PoolObservation) -> tuple[ObservedPod, ...]:
    rolling = any(pod.revision != seen.revision for pod in kept)
    surge_not_ready = any(pod.revision == seen.revision and not pod.ready for pod in kept)
    allowed = seen.replicas + (1 if rolling and surge_not_ready else 0)
    in_order = sorted(kept, key=lambda pod: (pod.revision == seen.revision, pod.ready, -pod.created_ms, -pod.attempt))
    spare_ready = sum(pod.ready for pod in kept) - seen.replicas
    victims: list[ObservedPod] = []
    for pod in in_order:
        if len(kept) - len(victims) > allowed and not (pod.ready and spare_ready <= 0):
            victims.append(pod)
            spare_ready -= pod.ready
    return tuple(victims)


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
    cooled = [(pod.finished_ms or pod.created_ms) + COOLING_MS for pod in census.cooling]
    unknown_nodes = [
        pod.scheduled_ms + NODE_SIGHT_MS + 1
        for pod in seen.pods
        if pod.node and pod.node not in seen.nodes and pod.scheduled_ms is not None
    ]
    return min((moment for moment in (*leaving, *cooled, *unknown_nodes) if moment > seen.now_ms), default=None)
