"""Time that moves only when told to."""

from dataclasses import dataclass


@dataclass(slots=True)
class VirtualClock:
    """Milliseconds since the start of a simulation."""

    now_ms: float = 0.0

    def advance(self, elapsed_ms: float) -> None:
        assert elapsed_ms >= 0, "time does not run backwards"
        self.now_ms += elapsed_ms

    def advance_to(self, moment_ms: float) -> None:
        """Move to `moment_ms`, or stay when that has passed."""
        self.now_ms = max(self.now_ms, moment_ms)
