"""The one queue of requests that no worker has started yet, and who is served next.

Order: streams that lost their worker, since their clients are in the middle of an answer; then tier priority; in it
tenants whose service counter is at most the lowest counter plus their allowed difference; then the least slack to the
first token's deadline, the predicted time of the prefill included; in a tenant's own line also its user's priority.
The parts: `service_counters` (who was given what), `tenant_lines` (the order of tenants), `locality_order` (the same
where prompts are cached), `queued` (the order in a line), `tail_guard` (what lower priorities get in any case).

Binding is late: a request stays here until `fits` says that some worker can take it now. One that does not fit lets
others pass until its deadline; from then on it holds the line, so it cannot starve. A stream that lost its worker holds
its own priority and those below from the start. So does a tenant that was given more than it may be before one that
another gateway serves: nobody else would use the capacity here, but somebody does there. After `TRIES` requests that do
not fit, the others are not asked about: when workers are full, a look at the queue must not cost more the longer it is.
"""

import math
from bisect import insort
from collections.abc import Callable, Iterator
from itertools import filterfalse, islice

from tierline.scheduling.queueing.locality_order import Cached, DeficitRounds
from tierline.scheduling.queueing.queued import OUTPUT_WEIGHT, Ahead, QueuedRequest
from tierline.scheduling.queueing.service_counters import ServiceCounters
from tierline.scheduling.queueing.standing import Standing, Turn
from tierline.scheduling.queueing.tail_guard import GUARD_EVERY, TailGuard
from tierline.scheduling.queueing.tenant_lines import Band

TRIES = 64

Asked = Callable[[QueuedRequest], bool]


class QueueManager:
    """Holds waiting requests and says which one goes next; pure state, no clock of its own.

    `counters` is public for whoever shares them with other gateways or keeps them over a restart. `cached` tells how
    much of a prompt's beginning some worker probably holds; without it nothing is ordered or charged by that.
    `credit_is_handed_back` says that the caller leaves workers' credit to other gateways while `held_back`, so that
    what still fits then is what nobody else takes: it is served, and no capacity stays idle for fairness.
    """

    def __init__(self, guard_every: int = GUARD_EVERY, cached: Cached | None = None) -> None:
        self.counters = ServiceCounters()
        self.credit_is_handed_back = False
        self._cached = cached
        self._guard = TailGuard(guard_every)
        self._bands: dict[int, Band] = {}
        self._rounds: dict[int, DeficitRounds] = {}
        self._resumed: list[QueuedRequest] = []
        self._by_id: dict[str, QueuedRequest] = {}
        self._turn = Turn.ORDER

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._by_id

    def waiting(self) -> Iterator[QueuedRequest]:
        """Every waiting request, in no order."""
        return iter(self._by_id.values())

    def counter(self, tenant: str) -> float:
        """Return the tenant's service so far in weighted tokens; only differences mean anything."""
        return self.counters.of(tenant)

    def push(self, request: QueuedRequest) -> None:
        """Take a new request, or one that comes back (nacked or moved); it finds its place by its own fields."""
        assert request.request_id not in self._by_id, f"{request.request_id} waits already"
        self.counters.arrived(request.tenant, request.priority)
        self._by_id[request.request_id] = request
        if request.resumed:
            insort(self._resumed, request, key=lambda queued: (-queued.priority, queued.place))
        else:
            self._bands.setdefault(request.priority, Band(request.priority)).add(request)

    def remove(self, request_id: str) -> QueuedRequest | None:
        """Take a request out without serving it; None when it does not wait."""
        request = self._by_id.pop(request_id, None)
        if request is not None:
            self._unlink(request)
        return request

    def take(self, request: QueuedRequest) -> None:
        """Serve a request that `next` named: it leaves the queue, its tenant pays for the prompt and the likely answer.

        A resumed stream paid when it was served first, and recomputation is never charged.
        """
        if not request.resumed:
            self._guard.dispatched(request.priority)
            cached = self._cached(request) if self._cached is not None and request.quantum_tokens else 0
            self.counters.prepay(request.request_id, request.tenant, request.cost_beyond(cached), request.prepaid)
        self.remove(request.request_id)

    def refund(self, request: QueuedRequest) -> None:
        """Undo the charge of `take`, for a request that its worker did not start."""
        if not request.resumed:
            self.counters.refund(request.request_id)

    def charge_output(self, request_id: str, tenant: str, tokens: int, weight: int) -> None:
        """Charge generated tokens as they come, as far as they were not paid for in advance."""
        self.counters.charge_output(request_id, tenant, OUTPUT_WEIGHT * tokens / weight)

    def settle(self, request_id: str) -> None:
        """Give back what was paid in advance for tokens that a request which ended did not generate."""
        self.counters.settle(request_id)

    def expired(self, now_ms: float) -> tuple[QueuedRequest, ...]:
        """Requests whose waiting is over; the caller removes and refuses them."""
        return tuple(request for request in self._by_id.values() if request.expires_ms <= now_ms)

    def ahead_of(self, request: QueuedRequest) -> Ahead:
        """Return what is served before `request`, which may wait here or be about to: moved streams, all of higher
        priorities, and in its own priority whom fairness puts before it."""
        ahead = [(1.0, each.missing_tokens) for each in self._resumed]
        ahead += [
            (len(line.requests), line.prompt_tokens)
            for priority, band in self._bands.items()
            if priority > request.priority
            for line in band.lines.values()
        ]
        band = self._bands.get(request.priority)
        beside = band.ahead_of(request, self.counters) if band is not None else Ahead(0.0, 0.0)
        return Ahead(
            beside.requests + sum(count for count, _ in ahead), beside.prompt_tokens + sum(t for _, t in ahead)
        )

    def next(
        self,
        now_ms: float,
        fits: Asked,
        capped: Asked = lambda _request: False,
    ) -> QueuedRequest | None:
        """Return the request to serve now, or None when none fits or a late one that does not fit holds the line.

        One that is `capped`, which its own tenant's limits hold back, holds nobody else's line.
        """
        self._turn = Turn.MOVED
        for request in self._resumed:
            if fits(request):
                return request
        self._turn = Turn.GUARD
        guarded = self._next_guarded(now_ms, fits, capped)
        if guarded is not None:
            return guarded
        self._turn = Turn.ORDER
        return self._next_by_priority(now_ms, fits, capped)

    def standing(self, request: QueuedRequest, now_ms: float) -> Standing:
        """Return where a request stands that `next` named just now."""
        band, counter = self._bands.get(request.priority), self.counters.of(request.tenant)
        # A moved stream goes first whatever the counters are, so nobody looked for the lowest one.
        order = None if request.resumed or band is None else self._rounds.get(request.priority, band)
        return Standing(
            queued=request,
            turn=self._turn,
            now_ms=now_ms,
            counter=counter,
            lowest=counter if order is None else order.lowest,
            waiting=len(self._by_id),
            waiting_band=0 if band is None else len(band),
        )

    @property
    def held_back(self) -> bool:
        """Whether requests wait and it is the turn of none of them, but of tenants that other gateways serve."""
        waits = self.counters.waits_elsewhere and bool(self._bands) and not self._resumed
        return waits and all(len(self._over(band)) == len(band.lines) for band in self._bands.values())

    def _next_guarded(self, now_ms: float, fits: Asked, capped: Asked) -> QueuedRequest | None:
        top = max(self._bands, default=0)
        turn = self._guard.turn(
            priority for priority, band in self._bands.items() if priority < top and band.late(now_ms)
        )
        if turn is None or self._resumed:
            return None
        candidates = filterfalse(capped, self._in_order(self._bands[turn]))
        return next(filter(fits, islice(candidates, TRIES)), None)

    def _next_by_priority(self, now_ms: float, fits: Asked, capped: Asked) -> QueuedRequest | None:
        moved = self._resumed[0].priority if self._resumed else -1
        tries = TRIES
        for priority in sorted(self._bands, reverse=True):
            if priority <= moved or not tries:
                return None
            band = self._bands[priority]
            for request in islice(filterfalse(capped, self._in_order(band)), tries):
                tries -= 1
                if fits(request):
                    return request
                if request.deadline_ms <= now_ms:
                    return None
            if self._held(band):
                return None
        return None

    def _in_order(self, band: Band) -> Iterator[QueuedRequest]:
        held = self._held(band)
        if self._cached is None or not band.prefers_locality:
            ordered = band.in_order(self.counters)
        else:
            rounds = self._rounds.setdefault(band.priority, DeficitRounds())
            ordered = rounds.in_order(band.lines, self.counters, band.priority, self._cached)
        return (request for request in ordered if request.tenant not in held) if held else ordered

    def _held(self, band: Band) -> frozenset[str]:
        """Return the tenants that are not served whatever fits."""
        return frozenset() if self.credit_is_handed_back and self.held_back else self._over(band)

    def _over(self, band: Band) -> frozenset[str]:
        """Return the tenants over the difference they are allowed to one that another gateway is serving."""
        lowest = self.counters.lowest_served_elsewhere(band.priority)
        if lowest == math.inf:
            return frozenset()
        counters = ((tenant, line, self.counters.of(tenant)) for tenant, line in band.lines.items())
        return frozenset(tenant for tenant, line, counter in counters if counter > lowest + line.difference)

    def _unlink(self, request: QueuedRequest) -> None:
        if request.resumed:
            self._resumed.remove(request)
        else:
            band = self._bands[request.priority]
            band.remove(request)
            if not band.lines:
                del self._bands[request.priority]
        self.counters.left(request.tenant, request.priority)
