"""A worker that is stuck, wherever it is, or that lost its engine's thread, never counts as alive."""

import threading
from collections.abc import Callable

import numpy as np
import pytest

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import LatencyModel, Roofline
from tierline.scheduling.plans import BatchPlan, EngineLimits
from tierline.wire.frames import Sampling, Submit
from tierline_worker.engine.engine import Engine, Identity
from tierline_worker.engine.health import Progress
from tierline_worker.engine.loop import EngineLoop
from tierline_worker.engine.messages import GatewayJoined, Message, Outgoing, Submitted
from tierline_worker.executor import LockStep, Sampled
from tierline_worker.metrics import WorkerMetrics

NOW_S, LIMIT_S = 100.0, 30.0
LATER_S = NOW_S + LIMIT_S + 1
PATIENCE_S = 30.0


class Gate:
    """Holds whoever passes it; tells when somebody is held."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE_S)


class GatedExecutor(LockStep):
    def __init__(self) -> None:
        self.gate: Callable[[], None] = lambda: None

    def apply(self, plan: BatchPlan, loads: object) -> dict[int, Exception]:
        return {}

    def compute(self, plan: BatchPlan) -> Sampled:
        self.gate()
        return Sampled(np.where(plan.samples, 7, -1), np.zeros(len(plan.slots), np.bool_))


class Running:
    """An engine on its thread, at a time that stands still."""

    def __init__(self) -> None:
        self.executor, self.progress = GatedExecutor(), Progress(LIMIT_S)
        latency = LatencyModel(Roofline(1e6, 1e6, 1.0, 1, 1, 1e12, 1e12).coefficients())
        self.engine = Engine(
            identity=Identity("w", "m", 100),
            new_core=lambda: SchedulerCore(EngineLimits(4, 64, 128, 4, 40), latency),
            executor=self.executor,
            metrics=WorkerMetrics("m"),
            progress=self.progress,
            clock=lambda: NOW_S,
        )
        self.finished = threading.Event()
        self.loop = EngineLoop(self.engine)
        self.loop.start(self._emit, lambda: None)
        self.loop.post(GatewayJoined(1))

    def submit(self) -> None:
        self.loop.post(Submitted(1, Submit("a", 1, (1, 2, 3), Sampling(2))))

    def _emit(self, outgoing: list[Outgoing]) -> None:
        for item in outgoing:
            if any(batch.finish_reason for batch in getattr(item.frame, "tokens", ())):
                self.finished.set()


@pytest.fixture
def running() -> Running:
    return Running()


def test_a_stuck_executor_is_a_stall_until_it_goes_on(running):
    gate = running.executor.gate = Gate()
    running.submit()
    assert gate.reached.wait(PATIENCE_S)
    assert not running.progress.stalled(NOW_S + LIMIT_S)
    assert running.progress.stalled(LATER_S)
    gate.opened.set()
    assert running.finished.wait(PATIENCE_S)
    assert not running.progress.stalled(LATER_S)


def test_being_stuck_in_a_message_is_a_stall_although_nothing_runs(running, monkeypatch):
    gate = Gate()
    monkeypatch.setattr(SchedulerCore, "submit", lambda *_: gate())
    running.submit()
    assert gate.reached.wait(PATIENCE_S)
    assert running.progress.stalled(LATER_S)
    gate.opened.set()


def test_a_message_that_raises_is_no_stall_and_the_next_one_is_served(running, monkeypatch):
    handled = threading.Event()
    handle = Engine.handle

    def handling(engine: Engine, message: Message) -> list[Outgoing]:
        if isinstance(message, GatewayJoined) and message.gateway == 2:
            handled.set()
            raise KeyError("a bad message")
        return handle(engine, message)

    monkeypatch.setattr(Engine, "handle", handling)
    running.loop.post(GatewayJoined(2))
    assert handled.wait(PATIENCE_S)
    running.submit()
    assert running.finished.wait(PATIENCE_S)
    assert not running.progress.stalled(LATER_S)


def test_a_worker_without_its_engine_thread_is_dead_at_once(monkeypatch):
    ended = threading.Event()
    died = Progress.died
    monkeypatch.setattr(Progress, "died", lambda progress: (died(progress), ended.set()))
    running = Running()
    monkeypatch.setattr(Engine, "publish", lambda *_: 1 / 0)
    running.submit()
    assert ended.wait(PATIENCE_S)
    assert running.progress.stalled(NOW_S)
