"""What a pool claims of a cluster's accelerators, and what waits for its workers."""

from dataclasses import dataclass
from math import inf

PoolKey = tuple[str, str]
"""Namespace and name of a pool."""

Row = tuple[str, str, int]
"""Pools that are equals: one kind of accelerators, one namespace, one priority."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Requests of one tier that wait for a fleet's workers: its priority, and when the first of them is due."""

    priority: int
    due_ms: float = inf


@dataclass(frozen=True, slots=True)
class Claim:
    """A pool's claim: `units` accelerators of a kind for each worker, its highest tier's priority, whether all of its
    tiers may be preempted.

    `queue` waits for the pool's fleet, `start_ms` is how long a worker takes to start.
    """

    key: PoolKey
    kind: str
    units: int
    priority: int
    may_give: bool
    low: int
    wanted: int
    held: int
    queue: tuple[Waiting, ...] = ()
    start_ms: float = 0.0

    @property
    def namespace(self) -> str:
        return self.key[0]

    @property
    def row(self) -> Row:
        return (self.kind, self.namespace, self.priority)

    @property
    def is_hungry(self) -> bool:
        """Whether it wants more workers than have an accelerator."""
        return self.held < self.wanted
