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


def compute_rows_alone(executor: Computes, plan: BatchPlan) -> tuple[Sampled, dict[int, Exception]]:
    """Return what the rows of a plan that failed as a whole sample by themselves, and the errors of those that fail.

    A row at fault fails alone, and a batch that was too large for the memory gets through in parts; a row that alone
    is too large is shed.
    """
    sampled, errors = nothing_sampled(plan), dict[int, Exception]()
    for row in range(len(plan.slots)):
        try:
            part = executor.compute(_only(plan, np.array([row])))
        except Exception as error:  # noqa: BLE001 whatever a kernel raises must not end the engine
            errors[row] = error
        else:
            sampled.tokens[row], sampled.stopped[row] = part.tokens[0], part.stopped[0]
    return sampled, errors


def nothing_sampled(plan: BatchPlan) -> Sampled:
    """Return the result of a plan that gave no token."""
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
