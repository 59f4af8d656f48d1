"""Cancels at any moment, refused starts, tenants that come and go, weights: each pays exactly for what it was given."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import OUTPUT_WEIGHT, PROMPT_WEIGHT, QueuedRequest

WEIGHTS = {f"t{number}": 1 + number % 4 for number in range(40)}


@dataclass
class Given:
    """What one tenant was given by its weight, and by how much its counter rose for it, lifts left out."""

    service: float = 0.0
    charged: float = 0.0


class CancelStorm(RuleBasedStateMachine):
    """Forty tenants, of which any number are active; clients go away whenever they like."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = QueueManager()
        self.running: dict[str, QueuedRequest] = {}
        self.given = {tenant: Given() for tenant in WEIGHTS}
        self.sent = 0

    def charging(self, tenant: str, before: float) -> None:
        self.given[tenant].charged += self.queue.counter(tenant) - before

    @rule(tenant=st.sampled_from(sorted(WEIGHTS)), prompt=st.integers(1, 3000), expected=st.floats(0, 2000))
    def arrives(self, tenant: str, prompt: int, expected: float) -> None:
        self.queue.push(
            QueuedRequest(
                request_id=f"r{self.sent:04}",
                tenant=tenant,
                tier="t",
                priority=1,
                context_tokens=prompt,
                total_tokens=prompt + 2000,
                arrival_ms=float(self.sent),
                deadline_ms=1000.0 + self.sent,
                expires_ms=1e9,
                expected_output_tokens=expected,
                weight=WEIGHTS[tenant],
            )
        )
        self.sent += 1

    @precondition(lambda self: len(self.queue) > 0)
    @rule(refused=st.booleans())
    def starts(self, refused: bool) -> None:
        request = self.queue.next(0.0, lambda _: True)
        assert request is not None
        before = self.queue.counter(request.tenant)
        self.queue.take(request)
        if refused:
            self.queue.refund(request)
            self.charging(request.tenant, before)
            self.queue.push(request)
            return
        self.charging(request.tenant, before)
        self.given[request.tenant].service += PROMPT_WEIGHT * request.context_tokens / request.weight
        self.running[request.request_id] = request

    @precondition(lambda self: self.running)
    @rule(data=st.data(), tokens=st.integers(1, 400))
    def gives(self, data: st.DataObject, tokens: int) -> None:
        request = self.running[data.draw(st.sampled_from(sorted(self.running)))]
        before = self.queue.counter(request.tenant)
        self.queue.charge_output(request.request_id, request.tenant, tokens, request.weight)
        self.charging(request.tenant, before)
        self.given[request.tenant].service += OUTPUT_WEIGHT * tokens / request.weight

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def ends_or_is_cancelled(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.running))))

    @precondition(lambda self: len(self.queue) > 0)
    @rule(data=st.data())
    def is_cancelled_while_it_waits(self, data: st.DataObject) -> None:
        waiting = sorted(request.request_id for request in self.queue.waiting())
        assert self.queue.remove(data.draw(st.sampled_from(waiting))) is not None

    def end(self, request_id: str) -> None:
        request = self.running.pop(request_id)
        before = self.queue.counter(request.tenant)
        self.queue.settle(request_id)
        self.charging(request.tenant, before)

    def teardown(self) -> None:
        for request_id in tuple(self.running):
            self.end(request_id)
        for tenant, given in self.given.items():
            assert abs(given.charged - given.service) <= 1e-6 * max(given.service, 1), tenant


TestCancelStorm = CancelStorm.TestCase
TestCancelStorm.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
