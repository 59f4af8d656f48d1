"""Gateways and a worker on a virtual clock: queue, credits and exchange are the product's, frames take a while.

A step is a millisecond. Frames from gateways to the worker and back arrive `LAG` steps later, exchanges are `PERIOD`
apart and not at the same time. Nacks put a request back in its place.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.queueing.service_exchange import SharedService
from tierline.wire.credits import CreditAccount
from tierline.wire.frames import Credits, Demand
from tierline_worker.engine.ledger import CreditLedger

LAG = 2
PERIOD = 50
BACKLOG = 16
BLOCKS = 1000
PROMPT_TOKENS, OUTPUT_TOKENS, STEPS_PER_TOKEN = 10, 16, 2


@dataclass
class Gateway:
    """`tenants` are those whose requests come in here, with their weights; there are always more of them."""

    number: int
    tenants: dict[str, int]
    difference: int
    queue: QueueManager = field(default_factory=QueueManager)
    account: CreditAccount = field(default_factory=CreditAccount)
    holding: bool = False
    asked: int = 0

    def fill(self, now_ms: float) -> None:
        waiting = Counter(request.tenant for request in self.queue.waiting())
        for tenant, weight in self.tenants.items():
            for _ in range(BACKLOG - waiting[tenant]):
                self.asked += 1
                self.queue.push(self._request(tenant, weight, now_ms))

    def _request(self, tenant: str, weight: int, now_ms: float) -> QueuedRequest:
        return QueuedRequest(
            request_id=f"{self.number}-{self.asked}",
            tenant=tenant,
            tier="t",
            priority=10,
            context_tokens=PROMPT_TOKENS,
            total_tokens=PROMPT_TOKENS + OUTPUT_TOKENS,
            arrival_ms=now_ms,
            deadline_ms=now_ms + 1e9,
            expires_ms=1e12,
            expected_output_tokens=OUTPUT_TOKENS,
            weight=weight,
            service_difference_tokens=self.difference,
        )


class VirtualFleet:
    """`shares` says whether gateways exchange counters and hold back for each other."""

    def __init__(
        self, gateways: list[dict[str, int]], slots: int = 8, shares: bool = True, difference: int = 2048
    ) -> None:
        self.gateways = [Gateway(number, tenants, difference) for number, tenants in enumerate(gateways)]
        self.slots, self.shares = slots, shares
        self.served: Counter[str] = Counter()
        self.busy = self.nacks = self.now = 0
        self._service = SharedService()
        self._ledger = CreditLedger(100)
        self._running: list[tuple[int, int, QueuedRequest]] = []
        self._to_worker: deque[tuple[int, int, QueuedRequest | Demand]] = deque()
        self._to_gateway: deque[tuple[int, int, QueuedRequest | Credits]] = deque()
        for gateway in self.gateways:
            gateway.queue.credit_is_handed_back = True
            self._ledger.open(gateway.number)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.now += 1
            self._worker_hears()
            self._worker_works()
            self._gateways_hear()
            for gateway in self.gateways:
                self._step(gateway)

    def _worker_hears(self) -> None:
        while self._to_worker and self._to_worker[0][0] <= self.now:
            _, number, frame = self._to_worker.popleft()
            if isinstance(frame, Demand):
                self._ledger.demand(number, frame)
                continue
            self._ledger.spend(number, 1)
            if len(self._running) < self.slots:
                self._running.append((self.now + OUTPUT_TOKENS * STEPS_PER_TOKEN, number, frame))
            else:
                self.nacks += 1
                self._to_gateway.append((self.now + LAG, number, frame))

    def _worker_works(self) -> None:
        self.busy += len(self._running)
        for _, _, request in [held for held in self._running if held[0] <= self.now]:
            self.served[request.tenant] += PROMPT_TOKENS + 2 * OUTPUT_TOKENS
        self._running = [held for held in self._running if held[0] > self.now]
        free = self.slots - len(self._running)
        for gateway in self.gateways:
            granted, changed = self._ledger.grant(gateway.number, free, BLOCKS, self.now / 1000)
            if changed:
                self._to_gateway.append((self.now + LAG, gateway.number, granted))

    def _gateways_hear(self) -> None:
        while self._to_gateway and self._to_gateway[0][0] <= self.now:
            _, number, told = self._to_gateway.popleft()
            if isinstance(told, Credits):
                self.gateways[number].account.update(told)
            else:
                self.gateways[number].queue.refund(told)
                self.gateways[number].queue.push(told)

    def _step(self, gateway: Gateway) -> None:
        gateway.fill(float(self.now))
        if self.shares and self.now % PERIOD == gateway.number * PERIOD // len(self.gateways):
            counters = gateway.queue.counters
            counters.adopt(self._service.merge(str(gateway.number), counters.begin_exchange(), float(self.now)))
        self._hold(gateway, repeat=self.now % PERIOD == 0)
        while gateway.account.affords(1) and (best := gateway.queue.next(float(self.now), lambda _: True)) is not None:
            gateway.queue.take(best)
            gateway.account.spend(1)
            self._to_worker.append((self.now + LAG, gateway.number, best))
            self._hold(gateway, repeat=False)

    def _hold(self, gateway: Gateway, repeat: bool) -> None:
        holding = gateway.queue.held_back
        if holding == gateway.holding and not (holding and repeat):
            return
        returned = gateway.account.hand_back() if not gateway.holding else (0, 0)
        gateway.holding = holding
        self._to_worker.append((self.now + LAG, gateway.number, Demand(holding, *returned)))
