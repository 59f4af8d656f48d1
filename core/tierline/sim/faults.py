"""What goes wrong in a simulation, and when."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerLoss:
    """Worker number `worker` is gone at `at_ms`, without notice."""

    worker: int
    at_ms: float


@dataclass(frozen=True, slots=True)
class Slowdown:
    """From `from_ms` to `until_ms` the worker's device takes `factor` times as long, and nobody is told."""

    worker: int
    from_ms: float
    until_ms: float
    factor: float


@dataclass(frozen=True, slots=True)
class Silence:
    """From `from_ms` to `until_ms` nothing of the worker reaches the gateway; it computes on, and all comes then."""

    worker: int
    from_ms: float
    until_ms: float


@dataclass(frozen=True, slots=True)
class Faults:
    """All that goes wrong in one run."""

    losses: Sequence[WorkerLoss] = ()
    slowdowns: Sequence[Slowdown] = ()
    silences: Sequence[Silence] = ()

    def slowdowns_of(self, worker: int) -> tuple[Slowdown, ...]:
        """Return when the worker is slow."""
        return tuple(slowdown for slowdown in self.slowdowns if slowdown.worker == worker)


NO_FAULTS = Faults()
