"""Counting a pool's pods: which of them the pool can build on, and which are as good as gone."""

from collections.abc import Mapping
from dataclasses import dataclass

from tierline.fleet.observed import ObservedNode, ObservedPod
from tierline.fleet.placement.spot_notices import evacuation_deadline_ms

NODE_SIGHT_MS = 5_000
"""A pod may be seen on a node before the node itself is: only after this long is a missing node a lost one."""

COOLING_MS = 10_000
"""A pod that died young keeps its slot this long, so that a pool that cannot start does not make pods in a hurry."""

YOUNG_MS = 30_000


@dataclass(frozen=True, slots=True)
class Doomed:
    """A running pod on a node that will be reclaimed at `deadline_ms`."""

    pod: ObservedPod
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Census:
    """Every pod of a pool in exactly one group.

    `staying` counts toward the replicas. `doomed` still serves but is counted absent, so that its replacement starts
    before the node dies. `unreachable` sits on a node that does not answer; `orphaned` on one that is gone for good.
    `finished` has ended and can be cleaned; `cooling` ended too soon after its start. `leaving` is being deleted.
    """

    staying: tuple[ObservedPod, ...] = ()
    doomed: tuple[Doomed, ...] = ()
    unreachable: tuple[ObservedPod, ...] = ()
    orphaned: tuple[ObservedPod, ...] = ()
    finished: tuple[ObservedPod, ...] = ()
    cooling: tuple[ObservedPod, ...] = ()
    leaving: tuple[ObservedPod, ...] = ()

    @property
    def serving(self) -> tuple[ObservedPod, ...]:
        """Pods that take or finish work now: staying and doomed ones that are ready."""
        return tuple(pod for pod in (*self.staying, *(it.pod for it in self.doomed)) if pod.ready)

    @property
    def alive(self) -> tuple[ObservedPod, ...]:
        return (*self.staying, *(it.pod for it in self.doomed))


def take_census(pods: tuple[ObservedPod, ...], nodes: Mapping[str, ObservedNode], now_ms: int) -> Census:
    """Sort `pods` into the groups of a `Census`, each group ordered by attempt."""
    groups: dict[str, list[ObservedPod]] = {}
    doomed: list[Doomed] = []
    for pod in sorted(pods, key=lambda it: (it.attempt, it.name)):
        group = _group_of(pod, nodes, now_ms)
        deadline = _deadline_of(pod, nodes, now_ms) if group == "staying" else None
        if deadline is not None:
            doomed.append(Doomed(pod, deadline))
        else:
            groups.setdefault(group, []).append(pod)
    return Census(doomed=tuple(doomed), **{group: tuple(members) for group, members in groups.items()})


def _group_of(pod: ObservedPod, nodes: Mapping[str, ObservedNode], now_ms: int) -> str:
    node_gone = _node_is_gone(pod, nodes, now_ms)
    if node_gone:
        return "orphaned"
    if pod.terminating:
        return "leaving"
    if pod.finished:
        return "cooling" if _died_young(pod, now_ms) else "finished"
    node = nodes.get(pod.node)
    return "unreachable" if node is not None and not node.ready else "staying"


def _node_is_gone(pod: ObservedPod, nodes: Mapping[str, ObservedNode], now_ms: int) -> bool:
    if not pod.node or pod.node in nodes:
        return False
    return pod.scheduled_ms is not None and now_ms - pod.scheduled_ms > NODE_SIGHT_MS


def _died_young(pod: ObservedPod, now_ms: int) -> bool:
    if pod.finished_ms is None:
        return now_ms - pod.created_ms < COOLING_MS
    return pod.finished_ms - pod.created_ms < YOUNG_MS and now_ms - pod.finished_ms < COOLING_MS


def _deadline_of(pod: ObservedPod, nodes: Mapping[str, ObservedNode], now_ms: int) -> int | None:
    node = nodes.get(pod.node)
    return None if node is None else evacuation_deadline_ms(node, now_ms, pod.evacuate_by_ms)
