"""Can a fleet keep what its tiers promise, at the declared load and its largest size? Known before the first request.

    keeps(p, target)  if  predicted(max replicas, declared load, p) <= target

Predicted are the latency model's times (`capacity`), with the model's own margin; a fleet of prefill and decode workers
takes the time to the first token from the one and the pace from the other. What is not kept is told with the prediction
and what would do: the smallest number of workers, or, where no number does, the target that is nearest.

Inputs: promises, declared workload, what a worker is. Bounds: sizes up to `MOST_WORKERS`. When not to use it: with
lengths far from the declared mean it speaks of the mean; a condition is a forecast, attainment is the fact.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tierline.fleet.scaling.capacity import RequestShape, WorkerShape, latencies_at
from tierline.fleet.verdicts import Verdict

MOST_WORKERS = 1000
FEASIBLE = "Feasible"


@dataclass(frozen=True, slots=True)
class Promise:
    """A tier's target of one latency at one percentile (0.95 for p95)."""

    tier: str
    metric: str
    percentile: float
    target_ms: float

    @property
    def name(self) -> str:
        return f"{self.metric} p{self.percentile * 100:.0f} of {self.target_ms:.0f} ms"


@dataclass(frozen=True, slots=True)
class SizedPool:
    """A pool at its largest."""

    worker: WorkerShape
    replicas: int


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A promise that is not kept: what is predicted instead, and what would do (0 workers: no number would)."""

    promise: Promise
    predicted_ms: float
    workers: int
    nearest_ms: float


def shortfalls(
    promises: Iterable[Promise], pools: Sequence[SizedPool], shape: RequestShape, per_second: float
) -> tuple[Shortfall, ...]:
    """Return every promise that the pools do not keep."""
    return tuple(
        _shortfall(promise, pool, shape, per_second)
        for promise in promises
        for pool in _responsible(promise, pools)
        if _predicted(promise, pool.worker, shape, per_second, pool.replicas) > promise.target_ms
    )


def feasible(found: Sequence[Shortfall], largest: int) -> Verdict:
    """Return the fleet's condition; `largest` is the number of workers that its pools allow together."""
    if not found:
        return Verdict(FEASIBLE, True, "TargetsReachable", "Every target holds at the declared load and largest size.")
    return Verdict(FEASIBLE, False, "TargetUnreachable", " ".join(_told(it, largest) for it in found))


def unknown(reason: str, message: str) -> Verdict:
    return Verdict(FEASIBLE, None, reason, message, is_news=False)


def _responsible(promise: Promise, pools: Sequence[SizedPool]) -> Sequence[SizedPool]:
    """Return the pools that the promise hangs on: of each role that takes part in it, all workers as one pool."""
    phases = {"Unified", "Prefill" if promise.metric == "TTFT" else "Decode"}
    taking_part = [pool for pool in pools if pool.worker.role in phases]
    if not taking_part:
        return ()
    return (SizedPool(taking_part[0].worker, sum(pool.replicas for pool in taking_part)),)


def _predicted(promise: Promise, worker: WorkerShape, shape: RequestShape, per_second: float, workers: int) -> float:
    times = latencies_at(worker, shape, per_second, workers, promise.percentile)
    return times.ttft_ms if promise.metric == "TTFT" else times.tpot_ms


def _shortfall(promise: Promise, pool: SizedPool, shape: RequestShape, per_second: float) -> Shortfall:
    def at(workers: int) -> float:
        return _predicted(promise, pool.worker, shape, per_second, workers)

    at_best = at(MOST_WORKERS)
    workers = _fewest(at, promise.target_ms) if at_best <= promise.target_ms else 0
    now = at(pool.replicas)
    return Shortfall(promise, now, workers, math.ceil(now if math.isfinite(now) else at_best))


def _fewest(at: Callable[[int], float], target_ms: float) -> int:
    low, high = 1, MOST_WORKERS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle) <= target_ms else (middle + 1, high)
    return low


def _told(it: Shortfall, largest: int) -> str:
    finite = math.isfinite(it.predicted_ms)
    predicted = f"{it.predicted_ms:.0f} ms" if finite else "more requests than they carry"
    fix = f"{it.workers} workers would do" if it.workers else "no number of workers would do"
    nearest = f", or a target of {it.nearest_ms:.0f} ms" if math.isfinite(it.nearest_ms) else ""
    return f"Tier {it.promise.tier}: {it.promise.name}, predicted {predicted} with {largest} workers: {fix}{nearest}."
