"""The waiting requests of one tier priority, in a line for each tenant, and the order of service among the tenants.

    over(t)  = counter(t) > lowest counter + the difference that t is allowed
    order    = tenants that are not over, by the earliest latest start in their line; then the others, by counter

The lowest counter is that of the tenants that wait in this priority, at any gateway. A tenant that is over is served
when nobody else can use the capacity. Bound: while they wait, counters of two tenants differ by at most the allowed
difference and the cost of one request. This is the Virtual Token Counter (OSDI 2024) with a choice: the paper always
serves the lowest counter, which is the order here with an allowed difference of 0; within the difference the choice is
the deadlines', since a tier promises times. A tenant's place among the others follows from its most urgent request;
which of its own goes then is its own choice (`queued`). When not to use it: where requests have
prefixes in common (`locality_order`).
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from tierline.scheduling.queueing.queued import Ahead, Place, QueuedRequest
from tierline.scheduling.queueing.service_counters import ServiceCounters

LOOKAHEAD = 8
"""So many requests of a tenant are tried before the next tenant's."""


@dataclass(slots=True)
class Line:
    """The waiting requests of one tenant in one priority, best first, and what they cost together.

    `urgency` is its place among the tenants: the earliest latest start, then the arrival of its head; `difference` is
    what its head allows. Both are kept, since they are read of every tenant at every dispatch.
    """

    requests: list[QueuedRequest] = field(default_factory=list)
    starts_ms: list[float] = field(default_factory=list)
    cost: float = 0.0
    urgency: Place = (0.0, 0.0, "")
    difference: int = 0
    prompt_tokens: int = 0

    def add(self, request: QueuedRequest) -> None:
        insort(self.requests, request, key=lambda queued: queued.place)
        insort(self.starts_ms, request.latest_start_ms)
        self.cost += request.cost
        self.prompt_tokens += request.missing_tokens
        self._look()

    def remove(self, request: QueuedRequest) -> None:
        del self.requests[self.before(request.place)]
        del self.starts_ms[bisect_left(self.starts_ms, request.latest_start_ms)]
        self.cost -= request.cost
        self.prompt_tokens -= request.missing_tokens
        if self.requests:
            self._look()

    def _look(self) -> None:
        head = self.requests[0]
        self.urgency = (self.starts_ms[0], head.arrival_ms, head.request_id)
        self.difference = head.service_difference_tokens

    def before(self, place: Place) -> int:
        """Return how many go before one of this place."""
        return bisect_left(self.requests, place, key=lambda queued: queued.place)

    def within(self, service: float) -> float:
        """Return the share of its requests that start until the counter rose by `service`."""
        return min(max(service, 0.0) / self.cost, 1.0)


class Band:
    """The lines of one priority; never holds an empty one. `lowest` is the lowest counter that its order last saw."""

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.lines: dict[str, Line] = {}
        self.lowest = 0.0
        self._deadlines_ms: list[float] = []
        self._indifferent = 0

    def __len__(self) -> int:
        return len(self._deadlines_ms)

    def add(self, request: QueuedRequest) -> None:
        self.lines.setdefault(request.tenant, Line()).add(request)
        insort(self._deadlines_ms, request.deadline_ms)
        self._indifferent += not request.quantum_tokens

    def remove(self, request: QueuedRequest) -> None:
        line = self.lines[request.tenant]
        line.remove(request)
        if not line.requests:
            del self.lines[request.tenant]
        del self._deadlines_ms[bisect_left(self._deadlines_ms, request.deadline_ms)]
        self._indifferent -= not request.quantum_tokens

    @property
    def prefers_locality(self) -> bool:
        """Whether every request here is of a tier in which cached prefixes go first."""
        return not self._indifferent

    def late(self, now_ms: float) -> bool:
        """Whether one of its requests is past its deadline."""
        return self._deadlines_ms[0] <= now_ms

    def in_order(self, counters: ServiceCounters) -> Iterator[QueuedRequest]:
        """Yield who is to be served, best first."""
        self.lowest = lowest = counters.lowest(self.lines, self.priority)
        ranked = []
        for tenant, line in self.lines.items():
            counter = counters.of(tenant)
            over = counter > lowest + line.difference
            ranked.append((counter if over else -1.0, line.urgency, tenant))
        heapq.heapify(ranked)
        while ranked:
            yield from self.lines[heapq.heappop(ranked)[-1]].requests[:LOOKAHEAD]

    def ahead_of(self, request: QueuedRequest, counters: ServiceCounters) -> Ahead:
        """Return what of this band is served before `request`, which may wait here or be about to.

        Of its own tenant those before it; of other tenants what they may be served until their counters pass the level
        that its tenant has reached when its turn comes, and the difference they are allowed. So a tenant that floods
        the queue does not make others look late.
        """
        line = self.lines.get(request.tenant)
        own = line.before(request.place) / len(line.requests) if line is not None else 0.0
        level = counters.level(request.tenant) + (line.cost * own if line is not None else 0.0)
        shares = [
            (other, other.within(level + other.difference - counters.of(tenant)))
            for tenant, other in self.lines.items()
            if tenant != request.tenant
        ]
        shares += [(line, own)] if line is not None else []
        return Ahead(
            sum(len(each.requests) * share for each, share in shares),
            sum(each.prompt_tokens * share for each, share in shares),
        )
