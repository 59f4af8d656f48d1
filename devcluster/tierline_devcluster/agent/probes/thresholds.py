"""Thresholds of probes: from single answers to verdicts."""

from dataclasses import dataclass
from enum import StrEnum


class ProbeKind(StrEnum):
    """Which of a container's three probes."""

    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A probe's verdict has turned: whether it passes now, and what the last answer said."""

    kind: ProbeKind
    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """Answers of one probe so far: the verdict that holds, and how many answers in a row speak against or for it."""

    passing: bool
    in_a_row: int = 0
    last_ok: bool | None = None

    def observe(self, *, ok: bool, success_threshold: int, failure_threshold: int) -> "Tally":
        """Count one answer; the verdict turns when enough answers in a row agree."""
        in_a_row = self.in_a_row + 1 if ok == self.last_ok else 1
        enough = in_a_row >= (success_threshold if ok else failure_threshold)
        return Tally(ok if enough else self.passing, in_a_row, ok)

    def failed_for_good(self, failure_threshold: int) -> bool:
        """Whether the answers in a row are failures that reach the threshold."""
        return self.last_ok is False and self.in_a_row >= failure_threshold
