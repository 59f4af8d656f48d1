"""A simulated fleet whose number of workers follows the shipped scaling planner: workers start cold and leave drained.

Every `interval_ms` the planner sees what the operator would see (arrivals, queue, latencies over the last minute) and
says how many workers there should be. New ones serve after a cold start; those that go get nothing new and leave when
their requests have ended. Worker time is counted from the start, cold start included.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tierline.fleet.scaling.capacity import RequestShape, WorkerShape
from tierline.fleet.scaling.load import FleetLoad, PoolLoad, TierLoad
from tierline.fleet.scaling.planner import ScalingMemory, ScalingPolicy, plan_scaling
from tierline.sim.fleet import FleetSimulation
from tierline.sim.ladder import Policy
from tierline.sim.requests import SimulatedRequest
from tierline.sim.setup import FleetRun, FleetSetup
from tierline.sim.worker import SimulatedWorker
from tierline.sim.workload import PlannedRequest

LOOK_BACK_MS = 60_000.0


@dataclass(frozen=True, slots=True)
class Scaled:
    """How a fleet is scaled: bounds, the planner's policy, its interval and how long a worker starts."""

    low: int
    high: int
    policy: ScalingPolicy
    interval_ms: float = 15_000.0
    cold_start_ms: float = 60_000.0


@dataclass(frozen=True, slots=True)
class ScaledRun:
    """What came of it; `steps` are the times and numbers of replicas after each change. The run's workers are those
    that were left at its end."""

    fleet: FleetRun
    average_replicas: float
    steps: tuple[tuple[float, int], ...]

    @property
    def turns(self) -> int:
        """How often the direction changed."""
        sizes = [size for _, size in self.steps]
        signs = [after > before for before, after in pairwise(sizes) if after != before]
        return sum(one != other for one, other in pairwise(signs))


class ScaledSimulation(FleetSimulation):
    """One run with a number of workers that changes; `replicas_at` replaces the planner by a fixed rule."""

    def __init__(
        self,
        setup: FleetSetup,
        policy: Policy,
        workload: Sequence[PlannedRequest],
        scaled: Scaled,
        replicas_at: Callable[[FleetLoad, float], int] | None = None,
    ) -> None:
        super().__init__(setup, policy, workload)
        self._scaled = scaled
        self._fixed = replicas_at
        self._memory = ScalingMemory()
        self._arrived: deque[SimulatedRequest] = deque()
        self._starting: list[float] = []
        self._made = setup.workers
        self._next_look_ms = 0.0
        self._replica_ms = 0.0
        self._counted_ms = 0.0
        self._steps = [(0.0, setup.workers)]

    def scaled_run(self) -> ScaledRun:
        """Run until every request has ended."""
        run = self.run()
        return ScaledRun(run, self._replica_ms / max(self._counted_ms, 1.0), tuple(self._steps))

    def _arrive(self, request: SimulatedRequest) -> None:
        self._arrived.append(request)
        super()._arrive(request)

    def _tick(self) -> None:
        now_ms = self._clock.now_ms
        self._replica_ms += (now_ms - self._counted_ms) * (len(self._workers) + len(self._starting))
        self._counted_ms = now_ms
        self._bring_up(now_ms)
        self._let_go()
        if now_ms >= self._next_look_ms:
            self._next_look_ms = now_ms + self._scaled.interval_ms
            self._look(now_ms)
        super()._tick()

    def _serving(self) -> list[SimulatedWorker]:
        return [worker for worker in self._workers.values() if not worker.draining]

    def _bring_up(self, now_ms: float) -> None:
        while self._starting and self._starting[0] <= now_ms:
            del self._starting[0]
            name = f"worker-{self._made}"
            self._made += 1
            limits = self._policy.limits(self._setup.limits)
            self._workers[name] = SimulatedWorker(name, limits, self._setup.truth, self._policy.planner)

    def _let_go(self) -> None:
        for name in [name for name, worker in self._workers.items() if worker.draining and not worker.outstanding]:
            del self._workers[name]

    def _look(self, now_ms: float) -> None:
        while self._arrived and self._arrived[0].planned.at_ms < now_ms - LOOK_BACK_MS:
            self._arrived.popleft()
        load = self._load(now_ms)
        if self._fixed is not None:
            wanted = self._fixed(load, now_ms)
        else:
            plan, self._memory = plan_scaling(self._scaled.policy, self._memory, load, int(now_ms) + 1)
            wanted = plan.decisions[0].replicas
        self._resize(wanted, now_ms)

    def _resize(self, wanted: int, now_ms: float) -> None:
        have = len(self._serving()) + len(self._starting)
        if wanted != have:
            self._steps.append((now_ms, wanted))
        for _ in range(wanted - have):
            self._starting.append(now_ms + self._scaled.cold_start_ms)
        for _ in range(have - wanted):
            if self._starting:
                self._starting.pop()
            else:
                min(self._serving(), key=lambda worker: len(worker.outstanding)).drain()

    def _load(self, now_ms: float) -> FleetLoad:
        ready = len(self._serving())
        worker = WorkerShape(
            "Unified",
            self._setup.truth,
            self._setup.limits.max_running_requests,
            self._setup.limits.max_batched_tokens,
            self._setup.limits.total_blocks * self._setup.limits.block_tokens,
        )
        pool = PoolLoad("main", self._scaled.low, self._scaled.high, ready + len(self._starting), ready, worker)
        return FleetLoad(tuple(self._tier_loads(now_ms)), (pool,), self._scaled.cold_start_ms / 1e3)

    def _tier_loads(self, now_ms: float) -> list[TierLoad]:
        seconds = max(min(now_ms, LOOK_BACK_MS), self._scaled.interval_ms) / 1e3
        waiting = [queued.tier for queued in self._desk.queue.waiting()]
        return [self._tier_load(name, seconds, waiting.count(name), now_ms) for name in self._setup.tiers]

    def _tier_load(self, name: str, seconds: float, queued: int, now_ms: float) -> TierLoad:
        mine = [request for request in self._arrived if request.planned.tier == name]
        if not mine:
            return TierLoad(name, queued=queued)
        tier = mine[0].tier
        shape = RequestShape(
            float(np.mean([it.planned.prompt_tokens for it in mine])),
            float(np.mean([it.planned.output_tokens for it in mine])),
        )
        waits = [(it.token_ms[0] if it.token_ms else now_ms) - it.planned.at_ms for it in mine]
        paces = [(it.token_ms[-1] - it.token_ms[0]) / (len(it.token_ms) - 1) for it in mine if len(it.token_ms) > 1]
        target_ms, pace_ms = tier.ttft_deadline_ms, tier.tpot_budget_ms
        return TierLoad(
            name,
            len(mine) / seconds,
            queued,
            shape,
            float(np.percentile(waits, 90)) / target_ms if target_ms else None,
            float(np.percentile(paces, 90)) / pace_ms if paces and pace_ms else None,
            pace_ms,
        )
