"""Finding out which request of a failed batch is at fault, so that only that one fails."""

import dataclasses
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.plans import BatchPlan
from tierline_worker.executor import Sampled


class Computes(Protocol):
    """What computes a plan's rows; computing the same rows again gives the same."""

    def compute(self, plan: BatchPlan) -> Sampled: ...


def compute_isolating(executor: Computes, plan: BatchPlan) -> tuple[Sampled, dict[int, Exception]]:
    """Return what the plan's rows sampled, and the errors of the rows that failed by themselves.

    A batch that fails is computed again row by row: a row at fault fails alone, and a batch that was too large for
    the memory gets through in parts; a row that alone is too large is shed.
    """
    try:
        return executor.compute(plan), {}
    except Exception as error:  # noqa: BLE001 whatever a kernel raises must not end the engine
        if len(plan.slots) == 1:
            return _nothing(plan), {0: error}
    return _row_by_row(executor, plan)


def _row_by_row(executor: Computes, plan: BatchPlan) -> tuple[Sampled, dict[int, Exception]]:
    sampled, errors = _nothing(plan), dict[int, Exception]()
    for row in range(len(plan.slots)):
        part, failed = compute_isolating(executor, _only(plan, np.array([row])))
        sampled.tokens[row], sampled.stopped[row] = part.tokens[0], part.stopped[0]
        if failed:
            errors[row] = failed[0]
    return sampled, errors


def _nothing(plan: BatchPlan) -> Sampled:
    return Sampled(np.full(len(plan.slots), -1), np.zeros(len(plan.slots), dtype=np.bool_))


def _only(plan: BatchPlan, rows: NDArray[np.int64]) -> BatchPlan:
    return dataclasses.replace(
        plan,
        slots=plan.slots[rows],
        starts=plan.starts[rows],
        counts=plan.counts[rows],
        samples=plan.samples[rows],
        decodes=int(np.count_nonzero(rows < plan.decodes)),
    )
