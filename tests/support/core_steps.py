"""Steps of a self-checking scheduling core, for tests that look at its plans."""

from dataclasses import replace

import numpy as np

from tierline.scheduling.invariants import CheckedSchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import BatchPlan, Committed, EngineLimits, EngineRequest, IterationResult

FLAT = Coefficients(5.0, 0.1, 0.0, 0.0, 0.0)


DEFAULTS = EngineLimits(
    max_running_requests=4,
    max_batched_tokens=32,
    max_model_tokens=64,
    block_tokens=4,
    total_blocks=64,
    max_partial_prefills=2,
)


def core_of(**limits: int) -> CheckedSchedulerCore:
    return CheckedSchedulerCore(replace(DEFAULTS, **limits), LatencyModel(FLAT))


def request(name: str, prompt: int, output: int, **kwargs: object) -> EngineRequest:
    return EngineRequest(name, prompt, output, **kwargs)  # type: ignore[arg-type]


def planned(core: CheckedSchedulerCore) -> BatchPlan:
    plan = core.plan(0.0)
    assert plan is not None
    return plan


def commit(core: CheckedSchedulerCore, plan: BatchPlan, stopped_rows: tuple[int, ...] = ()) -> Committed:
    stopped = np.zeros(len(plan.slots), np.bool_)
    stopped[list(stopped_rows)] = True
    return core.commit(IterationResult(plan.iteration, stopped, 5.0 + 0.1 * plan.tokens))


def step(core: CheckedSchedulerCore) -> BatchPlan:
    plan = planned(core)
    commit(core, plan)
    return plan


def rows(core: CheckedSchedulerCore, plan: BatchPlan) -> dict[str, tuple[int, int, bool]]:
    """Each planned request's (start, count, samples); call before the commit."""
    names = [core.slots.request(slot).request_id for slot in plan.slots.tolist()]
    cells = zip(plan.starts.tolist(), plan.counts.tolist(), plan.samples.tolist(), strict=True)
    return dict(zip(names, cells, strict=True))


def phase(core: CheckedSchedulerCore, name: str) -> int:
    return int(core.slots.phase[core.slots.slot_of[name]])
