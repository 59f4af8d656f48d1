"""A device for the engine that computes behind its back and notices what was planned or repeated wrongly."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tierline.scheduling.latency import Coefficients
from tierline.scheduling.plans import BatchPlan, EngineLimits
from tierline.sim.executor import FakeExecutor
from tierline_worker.executor import Sampled
from tierline_worker.slots import SlotLoad

TRUTH = Coefficients(7.0, 0.02, 1e-5, 0.05, 1e-4)


class RowAtFault(ValueError):
    """What a faulty request makes of any batch that it is in."""


@dataclass(eq=False)
class _Launch:
    plan: BatchPlan
    result: Sampled | None = None
    error: Exception | None = None


@dataclass
class Behaviour:
    """How the device acts: `eager` computes iteration i at its launch, else when a result is waited for; `hold` keeps
    iteration i back until the one before it has landed; a prompt in `faults` fails from that position on."""

    eager: Callable[[int], bool] = lambda _iteration: False
    hold: Callable[[int], bool] = lambda _iteration: False
    faults: dict[tuple[int, ...], int] = field(default_factory=dict)


class AheadDevice:
    """`FakeExecutor`, launched and waited for. Work is done in the order of the launches, and once."""

    def __init__(self, limits: EngineLimits, max_in_flight: int, behaviour: Behaviour) -> None:
        self.max_in_flight = max_in_flight
        self.longest_queue = 0
        self._behaviour = behaviour
        self._ids: dict[str, list[int]] = {}
        self._faults: dict[int, int] = {}
        self._queue: deque[_Launch] = deque()
        self._fake = FakeExecutor(limits, TRUTH, self._ids.__getitem__)

    def apply(self, plan: BatchPlan, loads: Sequence[SlotLoad]) -> Mapping[int, Exception]:
        for admitted, load in zip(plan.admitted, loads, strict=True):
            self._ids[admitted.request_id] = load.token_ids
            self._faults[load.slot] = self._behaviour.faults.get(tuple(load.token_ids), 1 << 30)
        self._fake.apply(plan)
        return {}

    def may_run_ahead(self, plan: BatchPlan, _loads: Sequence[SlotLoad]) -> bool:
        return not self._behaviour.hold(plan.iteration)

    def launch(self, plan: BatchPlan) -> Callable[[], Sampled]:
        launch = _Launch(plan)
        self._queue.append(launch)
        self.longest_queue = max(self.longest_queue, len(self._queue))
        if self._behaviour.eager(plan.iteration):
            self._work(until=launch)
        return lambda: self._wait(launch)

    def clear(self, blocks: np.ndarray) -> None:
        self._fake.pages.poison(blocks)

    def compute(self, plan: BatchPlan) -> Sampled:
        assert not self._queue, "a plan is repeated while others run"
        ends = plan.starts + plan.counts
        for slot, end in zip(plan.slots.tolist(), ends.tolist(), strict=True):
            if end >= self._faults[slot]:
                raise RowAtFault(f"slot {slot} at {end}")
        executed = self._fake.compute(plan)
        return Sampled(executed.tokens, executed.result.stopped)

    def _wait(self, launch: _Launch) -> Sampled:
        self._work(until=launch)
        if launch.error is not None:
            raise launch.error
        assert launch.result is not None, "a result is asked for twice"
        result, launch.result = launch.result, None
        return result

    def _work(self, until: _Launch) -> None:
        while until in self._queue:
            launch = self._queue.popleft()
            waiting, self._queue = self._queue, deque()
            try:
                launch.result = self.compute(launch.plan)
            except Exception as error:  # noqa: BLE001 as a device, which tells when it is asked
                launch.error = error
            self._queue = waiting
