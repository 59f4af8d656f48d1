"""Which workers change their pool, and with it their role, in place: without a new pod and without a lost stream.

Scaling says how many workers one pool can spare and another one lacks (`RoleMove`). A worker can follow when its
process would be the same in the other pool but for the role: equal environment, resources, places and drain.
Then its pod gets the other pool's labels and owner in one write, and gateways route by the new role as soon as they see
it; what runs there goes on. Where pods differ, or a change is being rolled out in one of the pools, a worker less there
and one more here do the same more slowly.

Of those that can follow the idlest goes first (fewest requests running), then the youngest: it has the least cached.

Inputs: moves, what both pools want, the giver's pods. Bounds: never more than a move says. When not to use it: while
prefill hands KV to decode, a worker must be drained before it changes its role; nothing hands over today.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tierline.fleet.observed import ObservedPod
from tierline.fleet.wanted import WantedWorker


@dataclass(frozen=True, slots=True)
class RoleMove:
    """So many workers that `taker` lacks and `giver` can spare."""

    giver: str
    taker: str
    workers: int

    def within(self, giver_gives: int, taker_takes: int) -> "RoleMove":
        """Return the move that is left when the pools change by other numbers than was planned."""
        return replace(self, workers=max(min(self.workers, giver_gives, taker_takes), 0))


@dataclass(frozen=True, slots=True)
class FlippingPool:
    """One side of a move: what its workers are, the revision wanted, its pods, and whether they are all of it."""

    worker: WantedWorker
    revision: str
    staying: tuple[ObservedPod, ...] = ()
    settled: bool = True


def flipping_workers(
    move: RoleMove, giver: FlippingPool, taker: FlippingPool, running: Mapping[str, float]
) -> tuple[ObservedPod, ...]:
    """Return the pods that change their pool in place; fewer than the move's workers where not so many can."""
    if not (giver.settled and taker.settled and replace(giver.worker, role=taker.worker.role) == taker.worker):
        return ()
    able = (pod for pod in giver.staying if pod.ready and pod.revision == giver.revision)
    return tuple(_idlest_first(able, running))[: move.workers]


def _idlest_first(pods: Iterable[ObservedPod], running: Mapping[str, float]) -> list[ObservedPod]:
    return sorted(pods, key=lambda pod: (running.get(pod.name, 0.0), -pod.created_ms, -pod.attempt))
