"""Time of one decode-only plan and its commit for 256 running requests; the budget of `plan` is 0.3 ms median."""

import statistics
import time

import numpy as np

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits, EngineRequest, IterationResult

RUNNING = 256
ITERATIONS = 600
BUDGET_MS = 0.3


def main() -> None:
    limits = EngineLimits(RUNNING, 512, 2048, 16, 16_384, 4)
    core = SchedulerCore(limits, LatencyModel(Coefficients(7.0, 0.02, 1e-6, 0.02, 5e-5)))
    for index in range(RUNNING):
        core.submit(EngineRequest(f"r{index}", 10 + index % 64, 1024, tpot_budget_ms=50.0))
    plan_ms, commit_ms = [], []
    for _ in range(ITERATIONS):
        begin = time.perf_counter()
        plan = core.plan(0.0)
        planned = time.perf_counter()
        assert plan is not None
        core.commit(IterationResult(plan.iteration, np.zeros(len(plan.slots), np.bool_), 12.0))
        if plan.decodes == RUNNING:
            plan_ms.append(1e3 * (planned - begin))
            commit_ms.append(1e3 * (time.perf_counter() - planned))
    print(f"plan   {statistics.median(plan_ms):.4f} ms median of {len(plan_ms)} (budget {BUDGET_MS})")
    print(f"commit {statistics.median(commit_ms):.4f} ms median")


if __name__ == "__main__":
    main()
