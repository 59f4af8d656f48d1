"""Whether the engine makes progress: a process that answers while its engine is stuck must not count as alive."""

from dataclasses import dataclass

_FAILURES_IN_A_ROW = 10


@dataclass(slots=True)
class Progress:
    """Written by the engine's thread, read by the server's; times are seconds of one monotonic clock.

    Stalled means: for `limit_s` there was work and no iteration finished, or iteration after iteration failed; or the
    engine's thread has ended.
    """

    limit_s: float
    _since: float | None = None
    _failing_since: float | None = None
    _failures: int = 0
    _dead: bool = False

    def working(self, now_s: float) -> None:
        """An iteration begins."""
        if self._since is None:
            self._since = now_s

    def finished(self, now_s: float) -> None:
        """An iteration gave a result."""
        self._since = now_s
        self._failing_since, self._failures = None, 0

    def failed(self, now_s: float) -> None:
        """An iteration gave only errors."""
        self._since = now_s
        self._failures += 1
        if self._failing_since is None:
            self._failing_since = now_s

    def idle(self) -> None:
        """Nothing is left to do."""
        self._since = None

    def died(self) -> None:
        """Nothing will ever come any more."""
        self._dead = True

    def stalled_s(self, now_s: float) -> float:
        """Return for how long nothing came of the work, 0 when there is none, infinity when there is no engine."""
        if self._dead:
            return float("inf")
        since = self._since
        stuck_s = now_s - since if since is not None else 0.0
        failing_since = self._failing_since
        if failing_since is not None and self._failures >= _FAILURES_IN_A_ROW:
            return max(stuck_s, now_s - failing_since)
        return stuck_s

    def stalled(self, now_s: float) -> bool:
        return self.stalled_s(now_s) > self.limit_s
