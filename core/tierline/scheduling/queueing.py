"""The one queue of requests that no worker has started yet, and who is served next.

Order: streams that lost their worker, since their clients are in the middle of an answer; then tier priority; in it
tenants whose service counter is at most the lowest counter plus their allowed difference; then the least slack to the
first token's deadline. Counters are those of the Virtual Token Counter (`service_counters`). Unlike VTC the choice
among tenants within the bound is by deadline, which widens VTC's bound by the allowed difference.

Binding is late: a request stays here until `fits` says that some worker can take it now. One that does not fit lets
others pass until its deadline; from then on it holds the line, so it cannot starve. A stream that lost its worker holds
its own priority and those below from the start. Lower priorities get one dispatch in `GUARD_EVERY` once they are late,
whatever waits above them.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tierline.scheduling.service_counters import ServiceCounters

PROMPT_WEIGHT = 1.0
OUTPUT_WEIGHT = 2.0
DEFAULT_SERVICE_DIFFERENCE_TOKENS = 8192
GUARD_EVERY = 16
LOOKAHEAD = 8


@dataclass(frozen=True, slots=True)
class QueuedRequest:
    """What the queue must know of a request; times are on the caller's clock.

    `context_tokens` is what a worker has to hold before the first new token, `total_tokens` at the most in the end.
    `expected_output_tokens` is how long the answer probably becomes. `resumed` marks a stream that was already
    delivering; its client sees a gap, so it goes first in its tier. `expires_ms` is when waiting longer is pointless.
    `shares_prompt` marks a further answer to a prompt that its tenant pays for with the first one.
    """

    request_id: str
    tenant: str
    tier: str
    priority: int
    context_tokens: int
    total_tokens: int
    arrival_ms: float
    deadline_ms: float
    expires_ms: float
    expected_output_tokens: float = 0.0
    weight: int = 1
    service_difference_tokens: int = DEFAULT_SERVICE_DIFFERENCE_TOKENS
    resumed: bool = False
    shares_prompt: bool = False

    @property
    def order(self) -> tuple[float, float, str]:
        """Place within one tenant and priority."""
        return (self.deadline_ms, self.arrival_ms, self.request_id)

    @property
    def prepaid(self) -> float:
        """What the answer is charged when it starts."""
        return OUTPUT_WEIGHT * self.expected_output_tokens / self.weight

    @property
    def cost(self) -> float:
        """What its tenant's counter rises by when it starts; never 0, so that a line of requests has an end."""
        prompt_tokens = 1 if self.shares_prompt else max(self.context_tokens, 1)
        return PROMPT_WEIGHT * prompt_tokens / self.weight + self.prepaid


@dataclass(slots=True)
class _Line:
    """The waiting requests of one tenant in one priority, best first, and what they cost together."""

    requests: list[QueuedRequest] = field(default_factory=list)
    cost: float = 0.0

    def add(self, request: QueuedRequest) -> None:
        insort(self.requests, request, key=lambda queued: queued.order)
        self.cost += request.cost

    def remove(self, request: QueuedRequest) -> None:
        self.requests.remove(request)
        self.cost -= request.cost

    def before(self, order: tuple[float, float, str]) -> list[QueuedRequest]:
        """Return those that go before one of this order."""
        return self.requests[: bisect_left(self.requests, order, key=lambda queued: queued.order)]

    def within(self, service: float) -> float:
        """Return how many of its requests start until the counter rose by `service`, a part of one for a part."""
        return len(self.requests) * min(max(service, 0.0) / self.cost, 1.0)


class QueueManager:
    """Holds waiting requests and says which one goes next; pure state, no clock of its own.

    `counters` is public for whoever shares them with other gateways or keeps them over a restart.
    """

    def __init__(self, guard_every: int = GUARD_EVERY) -> None:
        self.counters = ServiceCounters()
        self._guard_every = guard_every
        self._bands: dict[int, dict[str, _Line]] = {}
        self._resumed: list[QueuedRequest] = []
        self._by_id: dict[str, QueuedRequest] = {}
        self._since_guard = 0

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
            insort(self._resumed, request, key=lambda queued: (-queued.priority, queued.order))
            return
        self._bands.setdefault(request.priority, {}).setdefault(request.tenant, _Line()).add(request)

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
            below_the_top = request.priority < max(self._bands)
            self._since_guard = 0 if below_the_top else self._since_guard + 1
            self.counters.prepay(request.request_id, request.tenant, request.cost, request.prepaid)
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

    def ahead_of(self, request: QueuedRequest) -> float:
        """Return how many waiting requests are served before `request`, which may wait here or be about to.

        Those above its priority; of its own tenant those due before it; of other tenants what they may be served until
        their counters pass the level that its tenant has reached when its turn comes, and the difference they are
        allowed. So a tenant that floods the queue does not make others look late.
        """
        above = sum(len(line.requests) for line in self._lines_above(request.priority))
        band = self._bands.get(request.priority, {})
        own = band[request.tenant].before(request.order) if request.tenant in band else []
        level = self.counters.level(request.tenant) + sum(other.cost for other in own)
        others = (self._until(tenant, line, level) for tenant, line in band.items() if tenant != request.tenant)
        return len(self._resumed) + above + len(own) + sum(others)

    def _lines_above(self, priority: int) -> Iterator[_Line]:
        return (line for band, lines in self._bands.items() if band > priority for line in lines.values())

    def _until(self, tenant: str, line: _Line, level: float) -> float:
        head = line.requests[0]
        return line.within(level + head.service_difference_tokens - self.counter(tenant))

    def next(self, now_ms: float, fits: Callable[[QueuedRequest], bool]) -> QueuedRequest | None:
        """Return the request to serve now, or None when none fits or a late one that does not fit holds the line."""
        for request in self._first_in_line(now_ms):
            if fits(request):
                return request
        for priority in sorted(self._bands, reverse=True):
            if self._resumed and priority <= self._resumed[0].priority:
                return None
            for request in self._in_order(priority):
                if fits(request):
                    return request
                if request.deadline_ms <= now_ms:
                    return None
        return None

    def _first_in_line(self, now_ms: float) -> list[QueuedRequest]:
        """Return who goes before the order of tiers: moved streams, else a late request whose turn the guard gives."""
        if self._resumed or self._since_guard < self._guard_every or len(self._bands) < 2:
            return list(self._resumed)
        top = max(self._bands)
        late = [request for request in self._by_id.values() if request.priority < top and request.deadline_ms <= now_ms]
        return sorted(late, key=lambda request: request.deadline_ms)[:1]

    def _in_order(self, priority: int) -> Iterator[QueuedRequest]:
        band = self._bands[priority]
        lowest = self.counters.lowest(band, priority)
        heads = [line.requests[0] for line in band.values()]
        for head in sorted(heads, key=lambda head: self._rank(head, lowest)):
            yield from band[head.tenant].requests[:LOOKAHEAD]

    def _rank(self, head: QueuedRequest, lowest: float) -> tuple[bool, float, float, str]:
        counter = self.counter(head.tenant)
        over = counter > lowest + head.service_difference_tokens
        # Tenants over their bound are still served when nobody else can use the capacity.
        return (over, counter if over else head.deadline_ms, head.arrival_ms, head.request_id)

    def _unlink(self, request: QueuedRequest) -> None:
        if request.resumed:
            self._resumed.remove(request)
        else:
            self._leave_band(request)
        self.counters.left(request.tenant, request.priority)

    def _leave_band(self, request: QueuedRequest) -> None:
        band = self._bands[request.priority]
        line = band[request.tenant]
        line.remove(request)
        if not line.requests:
            del band[request.tenant]
        if not band:
            del self._bands[request.priority]
