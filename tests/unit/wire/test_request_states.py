"""Every legal and every illegal transition, and a request's whole life with a worker's core and a gateway's journal."""

from itertools import product

import numpy as np
import pytest

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits, EngineRequest
from tierline.scheduling.slots import Phase
from tierline.sim.executor import FakeExecutor, next_token
from tierline.wire.states import TRANSITIONS, FinishReason, IllegalTransition, RequestLife, RequestState

S = RequestState
TRUTH = Coefficients(7.0, 0.02, 1e-5, 0.05, 1e-4)

LEGAL = {
    (S.WAITING, S.WAITING_KV),
    (S.WAITING, S.DONE),
    (S.WAITING_KV, S.RUNNING),
    (S.WAITING_KV, S.WAITING),
    (S.WAITING_KV, S.MOVING),
    (S.WAITING_KV, S.DONE),
    (S.RUNNING, S.PARKED),
    (S.RUNNING, S.MOVING),
    (S.RUNNING, S.WAITING),
    (S.RUNNING, S.DONE),
    (S.PARKED, S.WAITING_KV),
    (S.PARKED, S.RUNNING),
    (S.PARKED, S.MOVING),
    (S.PARKED, S.WAITING),
    (S.PARKED, S.DONE),
    (S.MOVING, S.WAITING),
    (S.MOVING, S.WAITING_KV),
    (S.MOVING, S.RUNNING),
    (S.MOVING, S.DONE),
}


def move(life: RequestLife, target: RequestState) -> None:
    if target is S.DONE:
        life.finish(FinishReason.STOP)
    else:
        life.to(target)


@pytest.mark.parametrize(("source", "target"), sorted(LEGAL))
def test_legal_transition_is_taken(source: RequestState, target: RequestState) -> None:
    life = RequestLife("r", source)
    move(life, target)
    assert life.state is target
    assert life.done == (target is S.DONE)
    assert (life.finish_reason is FinishReason.STOP) == (target is S.DONE)


@pytest.mark.parametrize(("source", "target"), sorted(set(product(S, S)) - LEGAL))
def test_illegal_transition_is_refused_and_changes_nothing(source: RequestState, target: RequestState) -> None:
    life = RequestLife("r", source)
    with pytest.raises(IllegalTransition, match="r"):
        move(life, target)
    assert life.state is source
    assert life.finish_reason is None


def test_table_holds_every_state_and_each_can_end() -> None:
    assert set(TRANSITIONS) == set(S)
    assert all(S.DONE in targets for state, targets in TRANSITIONS.items() if state is not S.DONE)
    assert not TRANSITIONS[S.DONE]


def test_done_needs_a_reason() -> None:
    with pytest.raises(IllegalTransition, match="reason"):
        RequestLife("r").to(S.DONE)


def test_epoch_grows_with_each_start_and_only_then() -> None:
    life = RequestLife("r")
    assert life.start() == 1
    life.to(S.RUNNING)
    life.to(S.WAITING)
    assert life.start() == 2
    with pytest.raises(IllegalTransition):
        life.start()
    assert life.epoch == 2


class FakeWorker:
    """A scheduling core with a fake device; says which phase a request is in."""

    def __init__(self, journal: dict[str, list[int]]) -> None:
        limits = EngineLimits(4, 16, 64, 4, 8, 2)
        self.core = SchedulerCore(limits, LatencyModel(TRUTH))
        self.device = FakeExecutor(limits, TRUTH, journal.__getitem__)

    def phase(self, request_id: str) -> int:
        return int(self.core.slots.phase[self.core.slots.slot_of[request_id]])

    def step(self) -> tuple[dict[str, int], dict[str, str]]:
        plan = self.core.plan(0.0)
        assert plan is not None
        names = [self.core.slots.request(slot).request_id for slot in plan.slots.tolist()]
        self.device.begin(plan)
        executed = self.device.finish()
        committed = self.core.commit(executed.result)
        tokens = {names[row]: executed.given[row][0] for row in committed.delivered}
        return tokens, {finished.request_id: finished.reason for finished in committed.finished}


class FakeGateway:
    """Keeps journals and request lives, and moves a life only when the worker's phase changed."""

    def __init__(self) -> None:
        self.journal: dict[str, list[int]] = {}
        self.prompts: dict[str, int] = {}
        self.lives: dict[str, RequestLife] = {}
        self.seen: dict[str, list[RequestState]] = {}
        self.worker = FakeWorker(self.journal)

    def arrive(self, name: str, prompt: int) -> None:
        self.journal[name] = list(range(1, prompt + 1))
        self.prompts[name] = prompt
        self.lives[name] = RequestLife(name)
        self.seen[name] = [S.WAITING]

    def dispatch(self, name: str, output: int, priority: int = 0) -> None:
        emitted = len(self.journal[name]) - self.prompts[name]
        request = EngineRequest(name, self.prompts[name], output, emitted, priority)
        assert self.worker.core.submit(request) is None
        self.lives[name].start()
        self.note(name)

    def step(self) -> None:
        tokens, finished = self.worker.step()
        for name, token in tokens.items():
            self.follow(name, S.RUNNING)
            self.journal[name].append(token)
        for name, reason in finished.items():
            self.lives[name].finish(FinishReason(reason))
            self.note(name)
        for name in self.worker.core.slots.slot_of:
            phase = self.worker.phase(name)
            if phase is Phase.PARKED:
                self.follow(name, S.PARKED)
            elif phase is Phase.RUNNING:
                self.follow(name, S.RUNNING)

    def lose_worker(self) -> None:
        self.worker = FakeWorker(self.journal)
        for name, life in self.lives.items():
            if not life.done and life.state is not S.WAITING:
                life.to(S.WAITING)
                self.note(name)

    def follow(self, name: str, state: RequestState) -> None:
        if self.lives[name].state is not state:
            self.lives[name].to(state)
            self.note(name)

    def note(self, name: str) -> None:
        self.seen[name].append(self.lives[name].state)


def undisturbed(prompt: int, output: int) -> list[int]:
    known = list(range(1, prompt + 1))
    for _ in range(output):
        known.append(next_token(np.array(known, np.int64)))
    return known


def test_a_request_runs_to_its_end() -> None:
    gateway = FakeGateway()
    gateway.arrive("a", 5)
    gateway.dispatch("a", 3)
    while not gateway.lives["a"].done:
        gateway.step()
    assert gateway.seen["a"] == [S.WAITING, S.WAITING_KV, S.RUNNING, S.DONE]
    assert gateway.lives["a"].finish_reason is FinishReason.LENGTH
    assert gateway.journal["a"] == undisturbed(5, 3)


def test_a_preempted_request_is_parked_and_its_tokens_do_not_change() -> None:
    gateway = FakeGateway()
    for name, priority in (("low", 0), ("high", 1)):
        gateway.arrive(name, 8)
        gateway.dispatch(name, 20, priority)
    while not (gateway.lives["low"].done and gateway.lives["high"].done):
        gateway.step()
    assert gateway.seen["high"] == [S.WAITING, S.WAITING_KV, S.RUNNING, S.DONE]
    assert gateway.seen["low"] == [S.WAITING, S.WAITING_KV, S.RUNNING, S.PARKED, S.RUNNING, S.DONE]
    assert gateway.journal["low"] == gateway.journal["high"] == undisturbed(8, 20)


def test_a_lost_worker_takes_a_request_back_and_replay_continues_it() -> None:
    gateway = FakeGateway()
    gateway.arrive("a", 5)
    gateway.dispatch("a", 10)
    for _ in range(4):
        gateway.step()
    gateway.lose_worker()
    gateway.dispatch("a", 10)
    while not gateway.lives["a"].done:
        gateway.step()
    life = [S.WAITING, S.WAITING_KV, S.RUNNING]
    assert gateway.seen["a"] == [*life, *life, S.DONE]
    assert gateway.lives["a"].epoch == 2
    assert gateway.journal["a"] == undisturbed(5, 10)
