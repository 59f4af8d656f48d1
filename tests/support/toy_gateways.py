"""Gateways that share one worker of a few slots, on a virtual clock of ticks: each running answer grows by a token.

Enough to see whom the shipped queues serve, with cancels, restarts and exchanged counters, in a second or two.
"""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tierline.scheduling.desk import RequestDesk
from tierline.scheduling.queueing.queued import OUTPUT_WEIGHT, QueuedRequest
from tierline.scheduling.queueing.service_exchange import SharedService

TICK_MS = 10.0
PROMPT_TOKENS, ANSWER_TOKENS = 100, 50
COST = PROMPT_TOKENS + OUTPUT_WEIGHT * ANSWER_TOKENS


@dataclass(frozen=True)
class Worker:
    name: str = "worker"


WORKER = Worker()


@dataclass
class Running:
    request: QueuedRequest
    gateway: int
    left: int
    delivered: int = 0


class ToyGateways:
    """`given` is what each tenant was really given, in weighted tokens."""

    def __init__(self, gateways: int = 1, slots: int = 16, difference: int = 2000, exchange_ms: float = 0.0) -> None:
        self.desks = [self._new_desk() for _ in range(gateways)]
        self.now_ms = 0.0
        self.given: Counter[str] = Counter()
        self.running: dict[str, Running] = {}
        self.idle_slot_ticks = 0
        self._hub = SharedService()
        self._slots, self._difference, self._exchange_ms = slots, difference, exchange_ms
        self._numbers = itertools.count()

    def send(self, tenant: str, gateway: int = 0, weight: int = 1) -> str:
        """Let a request arrive; its client asks for twice as long an answer as it becomes."""
        request_id = f"r{next(self._numbers):06d}"
        self.desks[gateway].queue.push(
            QueuedRequest(
                request_id=request_id,
                tenant=tenant,
                tier="t",
                priority=1,
                context_tokens=PROMPT_TOKENS,
                total_tokens=PROMPT_TOKENS + 2 * ANSWER_TOKENS,
                arrival_ms=self.now_ms,
                deadline_ms=self.now_ms + 1000,
                expires_ms=1e12,
                expected_output_tokens=1.5 * ANSWER_TOKENS,
                weight=weight,
                service_difference_tokens=self._difference,
            )
        )
        return request_id

    def keep_waiting(self, backlog: Mapping[tuple[str, int], int], weights: Mapping[str, int] | None = None) -> None:
        """Send until of each (tenant, gateway) at least so many requests wait."""
        for (tenant, gateway), wanted in backlog.items():
            there = sum(request.tenant == tenant for request in self.desks[gateway].queue.waiting())
            for _ in range(wanted - there):
                self.send(tenant, gateway, (weights or {}).get(tenant, 1))

    def cancel(self, request_id: str) -> None:
        """Let the client go away, wherever its request is."""
        for desk in self.desks:
            if desk.queue.remove(request_id) is not None:
                return
        running = self.running.pop(request_id, None)
        if running is not None:
            self._settle(running, complete=False)

    def restart(self, gateway: int) -> None:
        """Let a gateway go away with its streams and come back with the counters that it had."""
        for request_id, running in tuple(self.running.items()):
            if running.gateway == gateway:
                self.cancel(request_id)
        snapshot = self.desks[gateway].queue.counters.snapshot()
        self.desks[gateway] = self._new_desk()
        self.desks[gateway].queue.counters.restore(snapshot)

    def tick(self) -> None:
        """Start what has a slot, the gateways taking turns, and let every answer grow by a token."""
        if self._exchange_ms and self.now_ms % self._exchange_ms == 0:
            self._exchange()
        idle: set[int] = set()
        for gateway in itertools.cycle(range(len(self.desks))):
            if len(self.running) >= self._slots or len(idle) == len(self.desks):
                break
            if not self._start_one(gateway):
                idle.add(gateway)
        self.idle_slot_ticks += self._slots - len(self.running)
        for running in tuple(self.running.values()):
            self._grow(running)
        self.now_ms += TICK_MS

    def _new_desk(self) -> RequestDesk:
        return RequestDesk(lambda request_id: PROMPT_TOKENS + self.running[request_id].delivered)

    def _start_one(self, gateway: int) -> bool:
        desk = self.desks[gateway]
        started = next(desk.dispatch(self.now_ms, lambda _: WORKER), None)
        if started is None:
            return False
        request = started[0]
        self.running[request.request_id] = Running(request, gateway, ANSWER_TOKENS)
        self.given[request.tenant] += PROMPT_TOKENS
        return True

    def _grow(self, running: Running) -> None:
        request = running.request
        running.left -= 1
        running.delivered += 1
        self.given[request.tenant] += int(OUTPUT_WEIGHT)
        self.desks[running.gateway].queue.charge_output(request.request_id, request.tenant, 1, request.weight)
        if not running.left:
            del self.running[request.request_id]
            self._settle(running, complete=True)

    def _settle(self, running: Running, complete: bool) -> None:
        request = running.request
        desk = self.desks[running.gateway]
        desk.ended(request.request_id, request.tenant, request.tier, running.delivered, complete)

    def _exchange(self) -> None:
        for name, desk in enumerate(self.desks):
            counters = desk.queue.counters
            counters.adopt(self._hub.merge(str(name), counters.begin_exchange(), self.now_ms))
