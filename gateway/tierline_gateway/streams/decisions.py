"""What was decided about one request, as references to what the policies saw and returned.

Nothing here is computed or copied while requests run; `front.explanation` renders it when somebody asks.
"""

from dataclasses import dataclass, field

import msgspec

from tierline.scheduling.admission.controller import Decision
from tierline.scheduling.admission.quota import QuotaLevels
from tierline.scheduling.queueing.standing import Standing
from tierline.scheduling.routing.route_account import Route

_BASE_BYTES = 1200
_WORKER_BYTES = 450
"""About what a worker's view takes in memory, with its latency model and its place in the need."""


class Admission(msgspec.Struct, frozen=True):
    """The decision at arrival; `asked_tier` is the request's own, which admission may have lowered to `tier`."""

    decision: Decision
    at_ms: float
    asked_tier: str
    tier: str
    queue_requests: int
    quota: QuotaLevels


class Start(msgspec.Struct, frozen=True):
    """A dispatch: why it was this request's turn, and why that worker's."""

    standing: Standing
    route: Route


@dataclass(slots=True)
class Decisions:
    """One request's decisions in their order; `tried` is the latest route, also one that led nowhere."""

    asked_tier: str = ""
    admission: Admission | None = None
    tried: Route | None = None
    starts: list[Start] = field(default_factory=list)

    def admitted(self, decision: Decision, tier: str, queue_requests: int, quota: QuotaLevels, now_ms: float) -> None:
        """Note the decision at arrival, and what it found."""
        self.admission = Admission(decision, now_ms, self.asked_tier or tier, tier, queue_requests, quota)

    @property
    def bytes_about(self) -> int:
        """About how much memory this keeps alive."""
        routes = [start.route for start in self.starts]
        if self.tried is not None and (not routes or self.tried is not routes[-1]):
            routes.append(self.tried)
        return _BASE_BYTES * (1 + len(routes)) + _WORKER_BYTES * sum(len(route.workers) for route in routes)
