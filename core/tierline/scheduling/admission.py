"""Whether a request is taken in, and what to tell a client that is not.

A request that would only expire in the queue is refused at once, with the time after which a new try makes sense:
early rejection keeps the queue short for those who can still be served (Mooncake, FAST 2025, does so for whole
clusters). The wait is predicted from how fast the queue was served while it was not empty.
"""

from dataclasses import dataclass
from enum import StrEnum

from tierline.scheduling.quota import TenantUsage

PAUSE_MS = 1000.0
PAUSE_FACTOR = 5.0
"""An interval counts for at most this many times the usual one, or `PAUSE_MS` if that is more."""

RUSH_MS = 10_000.0

_SMOOTHING = 0.1
_FADING = 0.98
_FORGOTTEN = 0.01
_LEAST_LEFT = 0.05


class Verdict(StrEnum):
    """Accept; Saturated and Quota are temporary (429), NoCapacity says that nothing could ever serve it now (503)."""

    ACCEPT = "Accept"
    SATURATED = "Saturated"
    QUOTA = "QuotaExceeded"
    NO_CAPACITY = "NoCapacity"


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a decision was made of: the requests `ahead`, the wait that predicts, how long the tier's targets let it
    wait, and the time that its prompt is predicted to take.
    """

    ahead: float
    wait_ms: float
    patience_ms: float
    first_token_ms: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict in words for the client; `retry_after_ms` is 0 for accepted requests."""

    verdict: Verdict
    reason: str = ""
    retry_after_ms: float = 0.0
    grounds: Grounds | None = None

    @property
    def accepted(self) -> bool:
        return self.verdict is Verdict.ACCEPT


class ServiceRate:
    """How long the queue takes per request while it has a backlog, and which part of it goes to higher priorities.

        wait = plain + min(plain * above / (1 - above), RUSH_MS)        plain = ahead * interval

    `above` is the share of recent dispatches that went to higher priorities. They keep coming while a request waits,
    and go before it: the delay of a priority queue (Cobham, "Priority assignment in waiting line problems", 1954). A
    rush of them is believed to last for `RUSH_MS` at most, so that work with minutes of time is not refused for it.
    """

    def __init__(self) -> None:
        self.interval_ms: float | None = None
        self._served: dict[int, float] = {}
        self._first_ms: float | None = None
        self._last_ms: float | None = None

    def served(self, now_ms: float, priority: int = 0) -> None:
        """Note one dispatch."""
        self._served = {each: _FADING * count for each, count in self._served.items() if count > _FORGOTTEN}
        self._served[priority] = self._served.get(priority, 0.0) + 1.0
        if self._last_ms is not None:
            self._learn(now_ms - self._last_ms)
        self._last_ms = now_ms

    def _learn(self, interval_ms: float) -> None:
        """A pause, as when a worker is lost, says little about the speed after it, and must not refuse for ever."""
        known = self.interval_ms
        if known is not None:
            believed = min(interval_ms, max(PAUSE_FACTOR * known, PAUSE_MS))
            self.interval_ms = known + _SMOOTHING * (believed - known)
        elif self._first_ms is None:
            self._first_ms = interval_ms
        else:
            self.interval_ms = min(self._first_ms, interval_ms)

    def drained(self) -> None:
        """The queue is empty: the pause until the next dispatch says nothing about speed."""
        self._last_ms = None

    def predicted_wait_ms(self, ahead: float, priority: int = 0) -> float:
        """Return the wait of a request of `priority` behind `ahead` others; 0 while nothing is known, as a cold start
        must not refuse."""
        if self.interval_ms is None:
            return 0.0
        above = sum(count for each, count in self._served.items() if each > priority)
        left = 1 - above / max(sum(self._served.values()), 1.0)
        plain_ms = ahead * self.interval_ms
        return plain_ms + min(plain_ms * (1 / max(left, _LEAST_LEFT) - 1), RUSH_MS)


class AdmissionController:
    """Decides at arrival; quotas first, since a tenant over its quota must not learn how full the fleet is."""

    def __init__(self, rate: ServiceRate) -> None:
        self._rate = rate

    def decide(
        self,
        usage: TenantUsage,
        prompt_tokens: int,
        ahead: float,
        patience_ms: float,
        now_ms: float,
        *,
        priority: int = 0,
    ) -> Decision:
        """Return the decision for a request that finds `ahead` others before it and may wait `patience_ms`."""
        breach = usage.breach(prompt_tokens, now_ms)
        if breach is not None:
            reason = f"spec.limits.{breach.limit} of the tenant's quota ({breach.allowed}) is used up"
            return Decision(Verdict.QUOTA, reason, breach.retry_after_ms)
        wait_ms = self._rate.predicted_wait_ms(ahead, priority)
        if wait_ms > patience_ms:
            reason = f"the queue would take {wait_ms / 1000:.1f} s, the tier's targets leave {patience_ms / 1000:.1f} s"
            return Decision(Verdict.SATURATED, reason, wait_ms - patience_ms)
        return Decision(Verdict.ACCEPT)

    def overdue(self, capacity_exists: bool, waited_ms: float, again_ms: float) -> Decision:
        """Return what to tell a request whose time in the queue is over, and that would wait for `again_ms` again."""
        waited = f"waited {waited_ms / 1000:.1f} s, as long as the tier allows"
        if not capacity_exists:
            return Decision(Verdict.NO_CAPACITY, f"{waited}; no worker of the fleet is ready", 5000.0)
        return Decision(Verdict.SATURATED, f"{waited}; all workers are full", max(again_ms, 1000.0))
