"""The clock of a run."""

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunClock:
    """Milliseconds since the run began."""

    started_s: float = field(default_factory=time.monotonic)

    def now_ms(self) -> float:
        return (time.monotonic() - self.started_s) * 1000

    def at_epoch_s(self, epoch_s: float) -> float:
        """Return a moment of the wall clock on this clock."""
        return self.now_ms() + (epoch_s - time.time()) * 1000
