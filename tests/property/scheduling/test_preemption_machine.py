"""Preemption with save and restore under arbitrary steps, against a device that notices every wrong block.

Requests of all batching modes, granularities and ways to save share a pool that is too small for them. Transfers end in
any order and at any time, some fail, requests are cancelled while their KV is on its way. All invariants hold after
each step, nothing waits for ever, and each request gets the tokens that it would have got alone.
"""

import copy
from collections import deque

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec.structs import replace

from tierline.scheduling.core import MAX_IN_FLIGHT
from tierline.scheduling.invariants import CheckedSchedulerCore, check_invariants
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.memory.transfers import TransferResult
from tierline.scheduling.plans import BatchPlan, EngineLimits, EngineRequest
from tierline.scheduling.snapshot import rebuild, take_snapshot
from tierline.sim.executor import FakeExecutor, next_token

TRUTH = Coefficients(7.0, 0.5, 1e-3, 0.05, 1e-4)
STEPS_TO_EMPTY = 5000
SHAPES = st.builds(
    EngineRequest,
    request_id=st.just(""),
    prompt_tokens=st.integers(1, 16),
    max_output_tokens=st.integers(1, 24),
    priority=st.integers(0, 2),
    preemptible=st.sampled_from([True, True, True, False]),
    ttft_deadline_ms=st.sampled_from([0.0, 100.0, float("inf")]),
    batching=st.sampled_from(["Continuous", "Discrete", "Slice"]),
    granularity=st.sampled_from(["Token", "Request"]),
    save=st.sampled_from(["Auto", "CPU", "Disk", "Recompute"]),
)

LIMITS = st.builds(
    EngineLimits,
    max_running_requests=st.integers(2, 6),
    max_batched_tokens=st.integers(6, 24),
    max_model_tokens=st.just(40),
    block_tokens=st.just(4),
    total_blocks=st.integers(10, 16),
    pressure_percent=st.sampled_from([70, 85, 100]),
    slice_tokens=st.integers(1, 6),
    prefix_caching=st.booleans(),
    host_blocks=st.integers(0, 12),
    disk_blocks=st.integers(0, 12),
)


def alone(ids: list[int], request: EngineRequest) -> list[int]:
    known = list(ids)
    while len(known) < request.max_total_tokens:
        known.append(next_token(np.array(known, np.int64)))
    return known[len(ids) :]


class PreemptionMachine(RuleBasedStateMachine):
    @initialize(limits=LIMITS)
    def start(self, limits: EngineLimits) -> None:
        self.limits = limits
        self.core = CheckedSchedulerCore(self.limits, LatencyModel(TRUTH))
        self.ids: dict[str, list[int]] = {}
        self.requests: dict[str, EngineRequest] = {}
        self.given: dict[str, list[int]] = {}
        self.ended: set[str] = set()
        self.plans: deque[tuple[BatchPlan, list[str]]] = deque()
        self.device = FakeExecutor(self.limits, TRUTH, self.ids.__getitem__)

    @rule(shapes=st.lists(SHAPES, min_size=1, max_size=4), steps=st.integers(0, 16), ahead=st.booleans())
    def submit_and_run(self, shapes: list[EngineRequest], steps: int, ahead: bool) -> None:
        for shape in shapes:
            name = f"r{len(self.ids)}"
            ids = [(len(self.ids) * 131 + index * 7 + 1) % 997 for index in range(shape.prompt_tokens)]
            if self.core.submit(replace(shape, request_id=name)) is None:
                self.requests[name], self.ids[name], self.given[name] = replace(shape, request_id=name), ids, []
        for _ in range(steps):
            if len(self.plans) < MAX_IN_FLIGHT:
                self.plan(with_twin=False)
            if len(self.plans) > ahead:
                self.commit()

    @precondition(lambda self: len(self.plans) < MAX_IN_FLIGHT)
    @rule(with_twin=st.booleans())
    def plan(self, with_twin: bool) -> None:
        twin = None
        if with_twin:
            snapshot = take_snapshot(self.core)
            twin = rebuild(snapshot, self.core.latency, copy.deepcopy(self.core.saved.model))
            check_invariants(twin)
            assert take_snapshot(twin) == snapshot
        plan = self.core.plan(0.0)
        if twin is not None:
            twin.plan(0.0)
            assert take_snapshot(twin).slots == take_snapshot(self.core).slots
            assert take_snapshot(twin).saved == take_snapshot(self.core).saved
        if plan is not None:
            names = [self.core.slots.request(slot).request_id for slot in plan.slots.tolist()]
            self.device.begin(plan)
            self.plans.append((plan, names))

    @precondition(lambda self: self.plans)
    @rule()
    def commit(self) -> None:
        _, names = self.plans.popleft()
        executed = self.device.finish()
        committed = self.core.commit(executed.result)
        for row in committed.delivered:
            assert names[row] not in self.ended
            self.given[names[row]].append(int(executed.tokens[row]))
        self.ended |= {finished.request_id for finished in committed.finished}

    @precondition(lambda self: hasattr(self, "device") and self.device.tiers.begun)
    @rule(data=st.data(), ok=st.sampled_from([True, True, True, False]))
    def end_transfer(self, data: st.DataObject, ok: bool) -> None:
        ticket = data.draw(st.sampled_from(self.device.tiers.begun))
        self.core.transferred(self.device.tiers.end(ticket, ok=ok))

    @rule(ticket=st.integers(10_000, 10_001))
    def hear_of_a_transfer_of_another_time(self, ticket: int) -> None:
        before = take_snapshot(self.core)
        self.core.transferred(TransferResult(ticket, 1.0))
        assert take_snapshot(self.core) == before

    @precondition(lambda self: len(self.requests) > len(self.ended))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(set(self.requests) - self.ended)))
        assert self.core.cancel(name)
        self.ended.add(name)
        self.requests.pop(name)

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        for _ in range(STEPS_TO_EMPTY):
            if self.core.empty and not self.device.tiers.begun:
                break
            if len(self.plans) < MAX_IN_FLIGHT:
                self.plan(with_twin=False)
            if self.plans:
                self.commit()
            if self.device.tiers.begun:
                self.core.transferred(self.device.tiers.end(self.device.tiers.begun[0]))
        assert self.core.empty
        assert self.core.memory.free == self.limits.total_blocks
        assert self.core.headroom.free_requests == self.limits.max_running_requests
        assert not self.core.awaiting_transfers
        assert [pool.free for pool in self.core.saved.pools.values()] == [
            self.limits.host_blocks,
            self.limits.disk_blocks,
        ]
        for name, request in self.requests.items():
            assert self.given[name] == alone(self.ids[name], request)


TestPreemptionMachine = PreemptionMachine.TestCase
# Each example ends with running everything to its end, checked after every step: a few say as much as many.
TestPreemptionMachine.settings = settings(max_examples=max(settings.default.max_examples // 8, 10))
