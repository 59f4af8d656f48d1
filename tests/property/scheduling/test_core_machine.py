"""The scheduling core against a device that notices every wrong block, under arbitrary steps.

Whatever is submitted, forked, preempted, cancelled, planned ahead and committed in whatever order, with whatever
prefixes in common: all invariants hold, the device never idles while a request is here, each request ends exactly once,
and its tokens are those it would have got alone. The device spoils what is free, and its pages know of which context,
namespace and adapter they are.
"""

from collections import deque

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from tierline.scheduling.core import MAX_IN_FLIGHT, SchedulerCore
from tierline.scheduling.invariants import CheckedSchedulerCore, check_invariants
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.memory.blocks import BlockState
from tierline.scheduling.memory.prefix_keys import SECRET_BYTES, KeyChain, KeySpace
from tierline.scheduling.plans import BatchPlan, EngineLimits, EngineRequest
from tierline.scheduling.slots import Phase
from tierline.scheduling.snapshot import rebuild, take_snapshot
from tierline.scheduling.speculation.acceptance import AcceptanceSnapshot
from tierline.sim.executor import FakeExecutor, next_token
from tierline.wire.frames import NackReason

TRUTH = Coefficients(7.0, 0.02, 1e-5, 0.05, 1e-4)
STOP_EVERY = 17
STEPS_TO_EMPTY = 5000
NAMESPACES = ("acme", "globex")
Context = tuple[int, int, str]
"""Which of two texts a context begins with, how much of it, and who may share its blocks."""
CONTEXTS = st.tuples(st.integers(0, 1), st.integers(0, 16), st.sampled_from(NAMESPACES))
LIMITS = st.builds(
    lambda slots, budget, **limits: EngineLimits(
        max_running_requests=slots, max_batched_tokens=slots + budget, max_model_tokens=48, **limits
    ),
    slots=st.integers(1, 6),
    budget=st.integers(0, 20),
    total_blocks=st.integers(7, 20),
    block_tokens=st.integers(1, 4),
    max_partial_prefills=st.integers(1, 3),
    prefix_caching=st.booleans(),
    max_draft_tokens=st.sampled_from([0, 1, 4]),
    max_adapters=st.integers(0, 3),
)
SHAPES = st.builds(
    EngineRequest,
    request_id=st.just(""),
    prompt_tokens=st.integers(1, 16),
    max_output_tokens=st.integers(1, 24),
    emitted_tokens=st.integers(0, 5),
    priority=st.integers(0, 2),
    ttft_deadline_ms=st.sampled_from([0.0, 100.0, float("inf")]),
    tpot_budget_ms=st.sampled_from([5.0, 9.0, 30.0, float("inf")]),
    preemptible=st.booleans(),
    speculate=st.booleans(),
    adapter=st.sampled_from(["", "", "", "red", "green", "blue"]),
)


def is_stop(token: int) -> bool:
    return token % STOP_EVERY == 0


def text(number: int, tokens: int, own: int) -> list[int]:
    """Return the first `tokens` tokens of a text, or of one's `own` where it is not 0."""
    return [(own * 131 + number * 311 + index * 7 + 1) % 997 for index in range(tokens)]


def alone(ids: list[int], request: EngineRequest) -> tuple[list[int], str]:
    """What the request gets on an empty engine: its new tokens and why it ends."""
    known = list(ids)
    while len(known) < request.max_total_tokens:
        known.append(next_token(np.array(known, np.int64)))
        if is_stop(known[-1]):
            return known[len(ids) :], "stop"
    return known[len(ids) :], "length"


def proposals(request_id: str, tokens: np.ndarray, most: int) -> list[int]:
    """Drafts that are right for a while and then wrong, in ways that differ by request and position."""
    drafts: list[int] = []
    for _ in range(most - len(tokens) % 2):
        right = (len(tokens) * 7 + len(drafts) * 3 + int(request_id[1:])) % 5 > 0
        drafts.append(next_token(np.array([*tokens, *drafts], np.int64)) + (not right))
    return drafts


class CoreMachine(RuleBasedStateMachine):
    @initialize(limits=LIMITS)
    def start(self, limits: EngineLimits) -> None:
        self.limits = limits
        self.keys = KeySpace(bytes(SECRET_BYTES), "model", limits.block_tokens)
        self.core = CheckedSchedulerCore(self.limits, LatencyModel(TRUTH))
        if self.core.drafting is not None:
            self.core.drafting.acceptance.restore(
                AcceptanceSnapshot(((0.0, 0.0, 0.0),) * limits.max_running_requests, (0.8, 100.0))
            )
        self.ids: dict[str, list[int]] = {}
        self.requests: dict[str, EngineRequest] = {}
        self.given: dict[str, list[int]] = {}
        self.ended: dict[str, str] = {}
        self.plans: deque[tuple[BatchPlan, list[str]]] = deque()
        self.read: deque[list[int]] = deque()
        self.chains: dict[str, tuple[KeyChain, int]] = {}
        self.namespaces: dict[str, str] = {}
        self.device = FakeExecutor(
            self.limits,
            TRUTH,
            self.ids.__getitem__,
            lambda _id, token: is_stop(token),
            propose=proposals,
            adapter_of=self.adapter_of,
            domain_of=self.namespaces.__getitem__,
        )
        self.served: dict[str, int] = {}
        for key, pages in (("red", 1), ("green", 3)):
            self.load_adapter_of(key, pages)

    @rule(
        shapes=st.lists(st.tuples(SHAPES, CONTEXTS), min_size=1, max_size=4),
        steps=st.integers(0, 12),
        ahead=st.booleans(),
    )
    def submit_and_run(self, shapes: list[tuple[EngineRequest, Context]], steps: int, ahead: bool) -> None:
        for shape, context in shapes:
            self.submit(shape, context)
        for _ in range(steps):
            if len(self.plans) < MAX_IN_FLIGHT:
                self.plan(with_twin=False)
            if len(self.plans) > ahead:
                self.commit()

    def adapter_of(self, name: str) -> str:
        return self.requests[name].adapter

    @rule(key=st.sampled_from(["red", "green", "blue"]), pages=st.integers(1, 24))
    def load_adapter(self, key: str, pages: int) -> None:
        self.load_adapter_of(key, pages)

    def load_adapter_of(self, key: str, pages: int) -> None:
        pages = self.core.adapters.pages_of(key) if self.core.adapters.known(key) else pages
        refused = self.core.adapters.register(key, pages)
        check_invariants(self.core)
        assert bool(refused) == (not self.limits.max_adapters or pages >= self.limits.total_blocks)
        if not refused:
            self.served[key] = pages

    @precondition(lambda self: self.served)
    @rule(data=st.data())
    def unload_adapter(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.served)))
        del self.served[key]
        self.core.adapters.retire(key)
        check_invariants(self.core)
        assert not self.core.adapters.serves(key)

    @rule(shape=SHAPES, context=CONTEXTS)
    def submit(self, shape: EngineRequest, context: Context) -> None:
        number, shared, namespace = context
        begins = text(number, min(shared, shape.prompt_tokens), own=0)
        own = text(0, shape.context_tokens - len(begins), own=len(self.requests) + 1)
        self.enter(shape, begins + own, namespace)

    @precondition(lambda self: len(self.requests) > len(self.ended))
    @rule(shape=SHAPES, data=st.data())
    def fork(self, shape: EngineRequest, data: st.DataObject) -> None:
        parent = data.draw(st.sampled_from(sorted(set(self.requests) - set(self.ended))))
        like = self.requests[parent]
        shape = replace(shape, prompt_tokens=like.prompt_tokens, adapter=like.adapter, fork_of=parent)
        emitted = text(1, shape.emitted_tokens, own=len(self.requests) + 1)
        self.enter(shape, self.ids[parent][: like.prompt_tokens] + emitted, self.namespaces[parent])

    def enter(self, shape: EngineRequest, ids: list[int], namespace: str) -> None:
        name = f"r{len(self.requests)}"
        chain = self.keys.chain(namespace, shape.adapter)
        keys = chain.extend(ids)
        output = shape.emitted_tokens + shape.max_output_tokens
        request = replace(shape, request_id=name, max_output_tokens=output, block_keys=keys)
        total, blocks = request.max_total_tokens, -(-(request.max_total_tokens - 1) // self.limits.block_tokens)
        unknown = bool(request.adapter) and request.adapter not in self.served
        blocks += self.served.get(request.adapter, 0)
        too_long = total > self.limits.max_model_tokens or blocks > self.limits.total_blocks
        free = self.core.headroom.free_requests
        refused = self.core.submit(request)
        if unknown:
            assert refused is NackReason.UNKNOWN_ADAPTER
        elif refused is None:
            assert not too_long
            assert free
            self.requests[name], self.ids[name], self.given[name] = request, ids, []
            self.chains[name], self.namespaces[name] = (chain, len(keys)), namespace
        else:
            assert refused is (NackReason.TOO_LONG if too_long else NackReason.NO_SLOT)

    @precondition(lambda self: len(self.plans) < MAX_IN_FLIGHT)
    @rule(with_twin=st.booleans())
    def plan(self, with_twin: bool) -> None:
        twin = self.rebuilt() if with_twin else None
        plan = self.core.plan(0.0)
        if twin is not None:
            assert_same_plan(plan, twin.plan(0.0))
            assert take_snapshot(twin).slots == take_snapshot(self.core).slots
            assert take_snapshot(twin).memory == take_snapshot(self.core).memory
            assert take_snapshot(twin).adapters == take_snapshot(self.core).adapters
        if plan is not None:
            names = [self.core.slots.request(slot).request_id for slot in plan.slots.tolist()]
            self.device.begin(plan)
            self.plans.append((plan, names))
            self.read.append(self.pages_read(names))
        self.spoil_what_is_free()

    @precondition(lambda self: self.plans)
    @rule()
    def commit(self) -> None:
        _, names = self.plans.popleft()
        self.read.popleft()
        executed = self.device.finish()
        committed = self.core.commit(executed.result)
        for row in committed.delivered:
            assert names[row] not in self.ended
            self.given[names[row]].extend(executed.given[row])
            self.name_blocks(names[row], executed.given[row])
        for finished in committed.finished:
            assert finished.request_id not in self.ended
            self.ended[finished.request_id] = finished.reason
        self.spoil_what_is_free()

    def name_blocks(self, name: str, tokens: tuple[int, ...]) -> None:
        chain, named = self.chains[name]
        keys = chain.extend(tokens)
        self.chains[name] = (chain, named + len(keys))
        for index, key in enumerate(keys, named):
            self.core.name_block(name, index, key)
        check_invariants(self.core)

    def spoil_what_is_free(self) -> None:
        self.device.pages.poison(np.flatnonzero(self.core.memory.state == BlockState.FREE))

    @precondition(lambda self: len(self.requests) > len(self.ended))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(set(self.requests) - set(self.ended))))
        assert self.core.cancel(name)
        assert not self.core.cancel(name)
        self.ended[name] = "cancelled"

    @precondition(lambda self: len(self.requests) > len(self.ended))
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(set(self.requests) - set(self.ended))))
        table = self.core.memory.table[self.core.slots.slot_of[name]].copy()
        exclusive = self.core.discard(name)
        assert set(exclusive.tolist()) <= set(table.tolist())
        assert not self.core.memory.references[exclusive].any()
        check_invariants(self.core)
        self.ended[name] = "cancelled"

    @precondition(lambda self: (self.core.slots.phase == Phase.RUNNING).any())
    @rule(data=st.data())
    def preempt(self, data: st.DataObject) -> None:
        slots = self.core.slots
        running = (slots.phase == Phase.RUNNING) & (slots.known < slots.max_total)
        victims = np.flatnonzero(running & ~self.core.preemptor.guaranteed()).tolist()
        if victims:
            self.core.preemptor.park(data.draw(st.sampled_from(victims)))
            check_invariants(self.core)

    @rule()
    def duplicate(self) -> None:
        for name in set(self.requests) - set(self.ended):
            assert self.core.submit(self.requests[name]) is NackReason.DUPLICATE

    def pages_read(self, names: list[str]) -> list[int]:
        used = {self.requests[name].adapter for name in names}
        return [block for adapter in self.core.adapters.resident if adapter.key in used for block in adapter.blocks]

    @invariant()
    def pages_in_flight_are_nobody_elses(self) -> None:
        if hasattr(self, "core"):
            kept = (BlockState.PAGE, BlockState.COOLING)
            assert all(np.isin(self.core.memory.state[blocks], kept).all() for blocks in self.read if blocks)

    @invariant()
    def who_is_here_finds_its_adapter(self) -> None:
        if hasattr(self, "core"):
            kept = {self.requests[name].adapter for name in set(self.requests) - set(self.ended)} - {""}
            assert all(self.core.adapters.known(key) for key in kept)

    def rebuilt(self) -> SchedulerCore:
        snapshot = take_snapshot(self.core)
        twin = rebuild(snapshot, self.core.latency)
        check_invariants(twin)
        assert take_snapshot(twin) == snapshot
        return twin

    @invariant()
    def device_table_follows_the_deltas(self) -> None:
        if not hasattr(self, "core"):
            return
        table = self.device.block_table.copy()
        for slot, index, block in self.core.memory.snapshot().updates:
            table[slot, index] = block
        for slot, owned in enumerate(self.core.memory.owned.tolist()):
            assert (table[slot, :owned] == self.core.memory.table[slot, :owned]).all()

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        for _ in range(STEPS_TO_EMPTY):
            if self.core.empty:
                break
            if len(self.plans) < MAX_IN_FLIGHT:
                self.plan(with_twin=False)
            if self.plans:
                self.commit()
        assert self.core.empty
        assert self.core.memory.free + self.core.adapters.unused_pages == self.limits.total_blocks
        for key in self.served:
            self.core.adapters.retire(key)
        assert self.core.memory.free == self.limits.total_blocks
        assert self.core.headroom.free_requests == self.limits.max_running_requests
        for name, request in self.requests.items():
            tokens, reason = alone(self.ids[name], request)
            if self.ended[name] == "cancelled":
                assert self.given[name] == tokens[: len(self.given[name])]
            else:
                assert (self.given[name], self.ended[name]) == (tokens, reason)


def assert_same_plan(left: BatchPlan | None, right: BatchPlan | None) -> None:
    assert (left is None) == (right is None)
    if left is None or right is None:
        return
    for name in ("slots", "starts", "counts", "samples", "block_updates", "copies"):
        assert (getattr(left, name) == getattr(right, name)).all()
    assert (left.iteration, left.decodes, left.admitted) == (right.iteration, right.decodes, right.admitted)


# Thousands of self-checks: on a machine that others use as well they take minutes.
TestCoreMachine = pytest.mark.timeout(400)(CoreMachine.TestCase)
