"""A day of a fleet in a second: traffic as a flow, latencies by the latency model, scaled by the shipped planner.

Each interval requests arrive at the curve's rate (a Poisson draw of it is what the planner sees), the workers that are
ready carry what they can, the rest waits. Requests meet their targets while the predicted latencies, and the wait of
what has queued up, stay below them. What single requests do to each other is the request simulator's to tell.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tierline.fleet.scaling.capacity import RequestShape, WorkerShape, highest_rate, latencies_at
from tierline.fleet.scaling.load import FleetLoad, PoolLoad, TierLoad
from tierline.fleet.scaling.planner import ScalingMemory, ScalingPolicy, plan_scaling

INTERVAL_SECONDS = 15.0
PERCENTILE = 0.95
MOST_WORKERS = 64


@dataclass(frozen=True, slots=True)
class FluidSetup:
    """One pool under one tier."""

    worker: WorkerShape
    shape: RequestShape
    ttft_ms: float
    tpot_ms: float
    low: int = 1
    high: int = MOST_WORKERS
    cold_start_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class FluidRun:
    """Share of requests in time, replica hours, those of one who knows the curve, and the sizes over time."""

    attainment: float
    replica_hours: float
    clairvoyant_hours: float
    sizes: tuple[int, ...]

    def turns_in_any_hour(self) -> int:
        """Return the most turns of direction within one hour."""
        changes = enumerate(after - before for before, after in pairwise(self.sizes))
        steps = [(index, change) for index, change in changes if change]
        turns = [index for (_, one), (index, other) in pairwise(steps) if (one > 0) != (other > 0)]
        an_hour = 3600 / INTERVAL_SECONDS
        return max((sum(start <= it < start + an_hour for it in turns) for start in turns), default=0)


def run_fluid(
    setup: FluidSetup, policy: ScalingPolicy, rate_at: Callable[[float], float], hours: float, seed: int
) -> FluidRun:
    """Follow a curve of requests a second over `hours`."""
    flow = _Flow(setup, policy, np.random.default_rng(seed))
    for index in range(round(hours * 3600 / INTERVAL_SECONDS)):
        flow.step(rate_at(index * INTERVAL_SECONDS), int(index * INTERVAL_SECONDS * 1000) + 1)
    return FluidRun(flow.met / max(flow.arrived, 1e-9), flow.hours, flow.best_hours, tuple(flow.sizes))


class _Flow:
    def __init__(self, setup: FluidSetup, policy: ScalingPolicy, rng: np.random.Generator) -> None:
        self._setup = setup
        self._policy = policy
        self._rng = rng
        self._memory = ScalingMemory()
        self._starting: list[int] = []
        self._ready = setup.low
        self._queued = 0.0
        self.met = self.arrived = self.hours = self.best_hours = 0.0
        self.sizes: list[int] = []

    def step(self, rate: float, now_ms: int) -> None:
        """Let one interval pass."""
        self._ready += sum(due <= now_ms for due in self._starting)
        self._starting = [due for due in self._starting if due > now_ms]
        ttft, tpot = self._serve(rate)
        self._resize(self._load(rate, ttft, tpot), now_ms)
        self.sizes.append(self._ready + len(self._starting))
        self.hours += self.sizes[-1] * INTERVAL_SECONDS / 3600
        self.best_hours += self._fewest(rate) * INTERVAL_SECONDS / 3600

    def _serve(self, rate: float) -> tuple[float, float]:
        """Return the interval's latencies over their targets."""
        setup = self._setup
        capacity = self._ready * highest_rate(setup.worker, setup.shape, None)
        self._queued = max(self._queued + (rate - capacity) * INTERVAL_SECONDS, 0.0)
        carried = min(rate, capacity * 0.99)
        times = latencies_at(setup.worker, setup.shape, carried, self._ready, PERCENTILE)
        wait_ms = 1e3 * self._queued / capacity if capacity else float("inf")
        ttft, tpot = (times.ttft_ms + wait_ms) / setup.ttft_ms, times.tpot_ms / setup.tpot_ms
        self.arrived += rate
        self.met += rate if max(ttft, tpot) <= 1 else 0.0
        return ttft, tpot

    def _load(self, rate: float, ttft: float, tpot: float) -> FleetLoad:
        setup = self._setup
        seen = self._rng.poisson(rate * INTERVAL_SECONDS) / INTERVAL_SECONDS
        tier = TierLoad("tier", seen, self._queued, setup.shape, ttft, tpot, setup.tpot_ms)
        pool = PoolLoad("pool", setup.low, setup.high, self._ready + len(self._starting), self._ready, setup.worker)
        return FleetLoad((tier,), (pool,), setup.cold_start_seconds)

    def _resize(self, load: FleetLoad, now_ms: int) -> None:
        plan, self._memory = plan_scaling(self._policy, self._memory, load, now_ms)
        more = plan.decisions[0].replicas - self._ready - len(self._starting)
        self._starting += [now_ms + round(self._setup.cold_start_seconds * 1000)] * max(more, 0)
        for _ in range(-more):
            if self._starting:
                self._starting.pop()
            else:
                self._ready -= 1

    def _fewest(self, rate: float) -> int:
        setup = self._setup
        for workers in range(setup.low, setup.high):
            times = latencies_at(setup.worker, setup.shape, rate, workers, PERCENTILE)
            if times.ttft_ms <= setup.ttft_ms and times.tpot_ms <= setup.tpot_ms:
                return workers
        return setup.high
