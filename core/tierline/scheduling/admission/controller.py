"""Whether a request is taken in, and what to tell a client that is not.

    refused when   wait > patience        wait = max(queue's own rate * those ahead, forecast of their prompts)

A request that would only expire in the queue, or break its tier's first token, is refused at once, with the time after
which a new try makes sense: early rejection keeps the queue short for those who can still be served (Mooncake, FAST
2025, does so for whole clusters). Where all workers hold the request back because one more stream would break a pace
or not fit into the memory, the refusal says that.
"""

from enum import StrEnum

import msgspec

from tierline.scheduling.admission.quota import Ask, QuotaBreach, TenantUsage
from tierline.scheduling.routing.choice import Obstacle

PAUSE_MS = 1000.0
PAUSE_FACTOR = 5.0
"""An interval counts for at most this many times the usual one, or `PAUSE_MS` if that is more."""

RUSH_MS = 10_000.0

_SMOOTHING = 0.1
_FADING = 0.98
_FORGOTTEN = 0.01
_LEAST_LEFT = 0.05


class Verdict(StrEnum):
    """The answer, and the reason code of a refusal.

    Those of saturation and quota are temporary (429), NoCapacity says that nothing could ever serve it now (503).
    """

    ACCEPT = "Accept"
    DEFER = "Defer"
    SATURATED = "Saturated"
    PACE = "PaceSaturated"
    MEMORY = "MemorySaturated"
    QUOTA = "QuotaExceeded"
    KV_QUOTA = "KVCacheQuotaExceeded"
    BUDGET = "BudgetExceeded"
    NO_CAPACITY = "NoCapacity"

    @property
    def saturation(self) -> bool:
        """Whether waiting longer, or a lower tier, would help."""
        return self in (Verdict.SATURATED, Verdict.PACE, Verdict.MEMORY)


class Grounds(msgspec.Struct, frozen=True):
    """What a decision was made of: the requests `ahead`, the wait that predicts, how long the tier's targets let it
    wait, and the time that its prompt is predicted to take.
    """

    ahead: float
    wait_ms: float
    patience_ms: float
    first_token_ms: float


class Decision(msgspec.Struct, frozen=True):
    """A verdict in words for the client; `retry_after_ms` is 0 for accepted requests.

    `eta_ms` is when the first token of an accepted or deferred request will probably come.
    """

    verdict: Verdict
    reason: str = ""
    retry_after_ms: float = 0.0
    grounds: Grounds | None = None
    eta_ms: float = 0.0

    @property
    def accepted(self) -> bool:
        return self.verdict in (Verdict.ACCEPT, Verdict.DEFER)


class Outlook(msgspec.Struct, frozen=True):
    """What a request that is admitted now would meet: the wait until its prompt begins, what its targets leave for
    waiting, the time from there to its first token, why every worker holds it back, if all do, who is ahead, and by
    when its first token has come by every prediction."""

    wait_ms: float
    patience_ms: float
    first_token_ms: float = 0.0
    obstacle: Obstacle | None = None
    ahead: float = 0.0
    first_token_by_ms: float = 0.0

    @property
    def grounds(self) -> Grounds:
        return Grounds(self.ahead, self.wait_ms, self.patience_ms, self.first_token_ms)


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

    def decide(self, usage: TenantUsage, ask: Ask, outlook: Outlook, now_ms: float) -> Decision:
        """Return the decision for a request with this outlook."""
        breach = usage.breach(ask, now_ms)
        if breach is not None:
            return quota_refusal(breach, outlook.grounds)
        eta_ms = max(outlook.first_token_by_ms, outlook.wait_ms + outlook.first_token_ms)
        if outlook.wait_ms <= outlook.patience_ms:
            return Decision(Verdict.ACCEPT, grounds=outlook.grounds, eta_ms=eta_ms)
        verdict, cause = _CAUSES[outlook.obstacle]
        wait, patience = outlook.wait_ms / 1000, outlook.patience_ms / 1000
        reason = f"{cause}the queue would take {wait:.1f} s, the tier's targets leave {patience:.1f} s"
        return Decision(verdict, reason, outlook.wait_ms - outlook.patience_ms, outlook.grounds, eta_ms)

    def overdue(self, capacity_exists: bool, waited_ms: float, again_ms: float) -> Decision:
        """Return what to tell a request whose time in the queue is over, and that would wait for `again_ms` again."""
        waited = f"waited {waited_ms / 1000:.1f} s, as long as the tier allows"
        if not capacity_exists:
            return Decision(Verdict.NO_CAPACITY, f"{waited}; no worker of the fleet is ready", 5000.0)
        return Decision(Verdict.SATURATED, f"{waited}; all workers are full", max(again_ms, 1000.0))


_CAUSES = {
    None: (Verdict.SATURATED, ""),
    Obstacle.PACE: (Verdict.PACE, "one more stream would slow others beyond their tier's time per token; "),
    Obstacle.MEMORY: (Verdict.MEMORY, "the KV cache has no room for one more answer; "),
}


def quota_refusal(breach: QuotaBreach, grounds: Grounds | None = None) -> Decision:
    """Return the refusal of a request that breaks one of its tenant's limits."""
    verdict = _QUOTA_VERDICTS.get(breach.limit, Verdict.QUOTA)
    reason = f"spec.{breach.limit} of the tenant's quota ({breach.allowed}) is used up"
    return Decision(verdict, reason, breach.retry_after_ms, grounds)


_QUOTA_VERDICTS = {"budget.centsPerDay": Verdict.BUDGET, "limits.maxKVCachePercent": Verdict.KV_QUOTA}
