"""Who goes first where prompts have beginnings in common: deficits keep it fair, cached prefixes give the order.

Deficit Longest Prefix Match (Cao et al., "Locality-aware Fair Scheduling in LLM Serving", arXiv 2501.14312) gives each
tenant a deficit, serves the longest cached prefix among tenants whose deficit is above 0, charges uncached tokens only,
and refills all deficits by a quantum Q when none is above 0. With the service counters that is

    deficit(t) = level - counter(t)        refill: level += Q as often as needed until some deficit is above 0
    order      = by (latest start - cached * WORTH_MS_PER_TOKEN) among tenants with a deficit; then the others

A cached token is worth a constant time of waiting, since the longest match alone lets a request with a new prefix wait
for ever: one without a match is passed only by those that came less than match * WORTH_MS_PER_TOKEN later.

Inputs: the lines of one priority, their counters, and how much of a prompt is probably cached. Bounds: while they wait,
counters of two tenants differ by at most Q + U, U being the cost of one request, so service in any interval by at most
2 (U + Q); a tenant whose allowed difference is less than Q keeps to that. A larger quantum trades fairness for cache
hits, and 1 is VTC. `SCAN` requests of a tenant are looked at.
When not to use it: where prompts have nothing in common it is VTC with a coarser step, and costs a look at each prompt.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tierline.scheduling.queueing.queued import Place, QueuedRequest
from tierline.scheduling.queueing.service_counters import ServiceCounters
from tierline.scheduling.queueing.tenant_lines import LOOKAHEAD, Line

SCAN: Final = 32
WORTH_MS_PER_TOKEN: Final = 25.0

Cached = Callable[[QueuedRequest], int]


class DeficitRounds:
    """The level up to which tenants of one priority may be served before all deficits are refilled."""

    def __init__(self) -> None:
        self.level = self.lowest = 0.0

    def in_order(
        self, lines: Mapping[str, Line], counters: ServiceCounters, priority: int, cached: Cached
    ) -> Iterator[QueuedRequest]:
        """Yield who is to be served, best first; tenants without a deficit only when nobody else fits."""
        quantum = min(line.requests[0].quantum_tokens for line in lines.values())
        self.lowest = lowest = counters.lowest(lines, priority)
        self._refill(lowest, quantum)
        ranked: list[tuple[bool, float, Place, str]] = []
        found: dict[str, list[QueuedRequest]] = {}
        for tenant, line in lines.items():
            counter = counters.of(tenant)
            gains = {request.request_id: WORTH_MS_PER_TOKEN * cached(request) for request in line.requests[:SCAN]}
            found[tenant] = sorted(line.requests[:SCAN], key=lambda queued: _place(queued, gains))
            soonest = min(queued.latest_start_ms - gains[queued.request_id] for queued in found[tenant])
            spent = counter >= self.level or counter > lowest + line.difference
            ranked.append((spent, counter if spent else soonest, line.urgency, tenant))
        heapq.heapify(ranked)
        while ranked:
            yield from found[heapq.heappop(ranked)[-1]][:LOOKAHEAD]

    def _refill(self, lowest: float, quantum: int) -> None:
        if lowest >= self.level:
            self.level += quantum * (math.floor((lowest - self.level) / quantum) + 1)


def _place(request: QueuedRequest, gains: Mapping[str, float]) -> Place:
    place, arrival_ms, request_id = request.place
    return (place - gains[request_id], arrival_ms, request_id)
