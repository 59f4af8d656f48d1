"""Iterations in flight: what is launched when, and what happens when the older one fails or its requests go."""

from functools import partial

import numpy as np
import pytest
from ahead_device import TRUTH, AheadDevice, Behaviour
from engine_testing import rows_plan

from tierline.scheduling.invariants import CheckedSchedulerCore
from tierline.scheduling.latency import LatencyModel
from tierline.scheduling.plans import BatchPlan, EngineLimits
from tierline.sim.executor import next_token
from tierline.wire.frames import Cancel, Sampling, Submit
from tierline_worker.engine.engine import Engine, Identity
from tierline_worker.engine.flights import Flights
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import Cancelled, DrainRequested, GatewayJoined, Outgoing, Submitted
from tierline_worker.executor import Pending, Sampled
from tierline_worker.metrics import WorkerMetrics

LIMITS = EngineLimits(4, 64, 128, 4, 40)


class Recorder:
    """Notes what it is asked for; each launch ends `duration_s` after the one before it, or fails."""

    max_in_flight = 2

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.now_s = 0.0
        self.fails: set[int] = set()
        self.held: set[int] = set()

    def apply(self, plan: BatchPlan, _loads: object) -> dict[int, Exception]:
        self.calls.append(f"apply {plan.iteration}")
        return {}

    def may_run_ahead(self, plan: BatchPlan, _loads: object) -> bool:
        return plan.iteration not in self.held

    def launch(self, plan: BatchPlan) -> Pending:
        self.calls.append(f"launch {plan.iteration}")
        return partial(self.wait, plan)

    def wait(self, plan: BatchPlan) -> Sampled:
        self.calls.append(f"wait {plan.iteration}")
        self.now_s += 0.010
        if plan.iteration in self.fails:
            raise ArithmeticError("a kernel failed")
        return Sampled(plan.starts.astype(np.int64), np.zeros(len(plan.slots), np.bool_))

    def clear(self, blocks: np.ndarray) -> None:
        self.calls.append(f"clear {len(blocks)}")

    def compute(self, plan: BatchPlan) -> Sampled:
        self.calls.append(f"compute slot {plan.slots[0]}")
        if plan.slots[0] == 1:
            raise ArithmeticError("this row is at fault")
        return Sampled(plan.starts.astype(np.int64), np.zeros(1, np.bool_))


def plan_of(iteration: int) -> BatchPlan:
    return rows_plan([(0, 5, 1, True), (1, 7, 1, True)], iteration=iteration)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def flights(recorder) -> Flights:
    return Flights(recorder, lambda: recorder.now_s)


def test_the_second_is_on_the_device_before_the_first_is_waited_for(recorder, flights) -> None:
    flights.add(plan_of(1), [])
    assert not flights.full
    flights.add(plan_of(2), [])
    assert flights.full
    assert flights.land().plan.iteration == 1
    assert recorder.calls == ["apply 1", "launch 1", "apply 2", "launch 2", "wait 1"]


def test_a_duration_does_not_count_the_iteration_before(recorder, flights) -> None:
    flights.add(plan_of(1), [])
    flights.add(plan_of(2), [])
    assert [flights.land().elapsed_s for _ in range(2)] == pytest.approx([0.010, 0.010])


def test_a_plan_that_may_not_run_ahead_starts_when_the_one_before_has_landed(recorder, flights) -> None:
    recorder.held.add(2)
    flights.add(plan_of(1), [])
    flights.add(plan_of(2), [])
    assert recorder.calls == ["apply 1", "launch 1"]
    flights.land()
    assert recorder.calls[2:] == ["wait 1", "apply 2", "launch 2"]


def test_a_failed_plan_is_repeated_by_rows_and_what_ran_behind_it_runs_again(recorder, flights) -> None:
    recorder.fails.add(1)
    flights.add(plan_of(1), [])
    flights.add(plan_of(2), [])
    landed = flights.land()
    assert list(landed.errors) == [1]
    assert landed.sampled.tokens.tolist() == [5, -1]
    assert recorder.calls[4:] == ["wait 1", "wait 2", "compute slot 0", "compute slot 1", "launch 2"]
    assert not flights.land().errors


def test_what_is_abandoned_is_waited_for_and_forgotten(recorder, flights) -> None:
    recorder.fails.add(1)
    flights.add(plan_of(1), [])
    flights.add(plan_of(2), [])
    flights.abandon()
    assert recorder.calls[-2:] == ["wait 1", "wait 2"]
    assert len(flights) == 0


class Ahead:
    """An engine one step ahead of a device that computes when it is waited for."""

    def __init__(self, **faults: int) -> None:
        prompts = {(ord(name), 2, 3): position for name, position in faults.items()}
        self.now_s = 0.0
        self.progress = Progress(30.0)
        self.core = CheckedSchedulerCore(LIMITS, LatencyModel(TRUTH))
        self.engine = Engine(
            identity=Identity("w", "m", 1000),
            new_core=lambda: self.core,
            executor=AheadDevice(LIMITS, 2, Behaviour(faults=prompts)),
            metrics=WorkerMetrics("m"),
            progress=self.progress,
            clock=lambda: self.now_s,
        )
        self.engine.handle(GatewayJoined(1))

    def submit(self, name: str, max_tokens: int) -> None:
        self.engine.handle(Submitted(1, Submit(name, 1, (ord(name), 2, 3), Sampling(max_tokens))))

    def finish(self, outgoing: list[Outgoing] | None = None) -> dict[str, list[int]]:
        """Run to the end and return the new tokens by request."""
        got: dict[str, list[int]] = {}
        while True:
            for item in outgoing or []:
                for batch in item.frame.tokens:
                    got.setdefault(batch.request_id, []).extend(batch.token_ids)
            if not self.engine.busy:
                return got
            outgoing = self.engine.step()


def alone(name: str, new_tokens: int) -> list[int]:
    known = [ord(name), 2, 3]
    for _ in range(new_tokens):
        known.append(next_token(np.array(known)))
    return known[3:]


def test_one_iteration_is_computed_while_the_next_is_planned() -> None:
    ahead = Ahead()
    ahead.submit("a", 4)
    ahead.engine.step()
    assert len(ahead.core.in_flight) == 1
    assert ahead.core.iteration == 2


def test_a_row_that_fails_while_the_next_iteration_is_in_flight_fails_alone() -> None:
    ahead = Ahead(b=5)
    for name in "abc":
        ahead.submit(name, 6)
    assert ahead.finish() == {"a": alone("a", 6), "b": alone("b", 2), "c": alone("c", 6)}
    assert ahead.core.empty


def test_a_request_cancelled_between_leaves_an_iteration_behind_that_is_still_committed() -> None:
    ahead = Ahead()
    ahead.submit("a", 50)
    ahead.engine.step()
    ahead.engine.handle(Cancelled(1, Cancel("a", 1)))
    assert ahead.engine.busy
    assert ahead.finish() == {}
    assert ahead.core.empty
    assert ahead.core.memory.free == LIMITS.total_blocks
    assert not ahead.progress.stalled(1e9)


def test_a_drain_ends_when_nothing_is_in_flight() -> None:
    ahead = Ahead()
    ahead.submit("a", 5)
    first = ahead.engine.step()
    ahead.engine.handle(DrainRequested(1000, "bye"))
    assert not ahead.engine.drained
    assert ahead.finish(first) == {"a": alone("a", 5)}
    assert ahead.engine.drained


def test_an_error_inside_the_core_empties_the_device_first(monkeypatch) -> None:
    ahead = Ahead()
    ahead.submit("a", 5)
    ahead.engine.step()
    broken, ahead.core = ahead.core, CheckedSchedulerCore(LIMITS, LatencyModel(TRUTH))
    monkeypatch.setattr(broken, "commit", lambda *_: 1 / 0)
    ahead.engine.step()
    assert not ahead.engine.busy
    ahead.submit("b", 3)
    assert ahead.finish() == {"b": alone("b", 3)}
