"""Getting a failed batch through in parts: only the request at fault fails, and what was too large is shed.

A batch that failed is halved until its parts succeed, so one row at fault among n is found in 2 log n computations. A
row that alone is too large for the memory is halved along its tokens, as far as one block's worth of work.
"""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from tierline.scheduling.plans import BatchPlan
from tierline.wire.frames import TokenLogprobs
from tierline_worker.executor import Sampled, nothing_sampled

LEAST_TOKENS = 16
"""A row of so few tokens is not halved further: where it does not fit, nothing does."""

_ALLOCATORS_WORDS = ("DefaultCPUAllocator", "out of memory", "can't allocate memory", "bad_alloc", "ALLOC_FAILED")


class Computes(Protocol):
    """What computes a plan's rows; computing the same rows again gives the same."""

    def compute(self, plan: BatchPlan) -> Sampled: ...


class TooLargeForMemory(MemoryError):
    """A request whose smallest step does not fit into the worker's memory."""

    def __init__(self, plan: BatchPlan) -> None:
        context = int(plan.starts[0] + plan.counts[0])
        super().__init__(
            f"the worker is out of memory: a step at {context} tokens of context does not fit, "
            "send a shorter prompt or give the worker more memory"
        )


class RowsFailed(Exception):
    """Some rows of a plan cannot be computed: their requests could not be taken over. `errors` are by row."""

    def __init__(self, errors: dict[int, Exception]) -> None:
        super().__init__(f"{len(errors)} requests could not be taken over")
        self.errors = errors

    @staticmethod
    def of(plan: BatchPlan, by_slot: Mapping[int, Exception]) -> "RowsFailed | None":
        """Return what is wrong with the rows of `plan`, None when nothing is."""
        errors = {row: by_slot[slot] for row, slot in enumerate(plan.slots.tolist()) if slot in by_slot}
        return RowsFailed(errors) if errors else None


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether `error` is an allocation that failed; libraries below torch tell it only in words."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _ALLOCATORS_WORDS)


def compute_in_parts(executor: Computes, plan: BatchPlan, error: Exception) -> tuple[Sampled, dict[int, Exception]]:
    """Return what the rows of a plan that failed with `error` as a whole sample, and the errors of those that fail."""
    sampled, errors, logprobs = nothing_sampled(plan), dict[int, Exception](), dict[int, tuple[TokenLogprobs, ...]]()
    followed, drafted = dict[int, tuple[int, ...]](), np.zeros_like(plan.drafts)
    work = _first_parts(plan, error, errors)
    while work:
        rows, part = work.pop()
        if rows[0] in errors:
            continue
        try:
            result = executor.compute(part)
        except Exception as failure:  # noqa: BLE001 whatever a kernel raises must not end the engine
            work += _parts(part, rows, failure, errors)
        else:
            sampled.tokens[rows], sampled.stopped[rows] = result.tokens, result.stopped
            logprobs |= {int(rows[at]): told for at, told in result.logprobs.items()}
            followed |= {int(rows[at]): tokens for at, tokens in result.followed.items()}
            drafted[rows[: len(result.drafted)]] = result.drafted
    return dataclasses.replace(sampled, logprobs=logprobs, followed=followed, drafted=drafted), errors


_Part = tuple[NDArray[np.intp], BatchPlan]


def _first_parts(plan: BatchPlan, error: Exception, errors: dict[int, Exception]) -> list[_Part]:
    if not isinstance(error, RowsFailed):
        return _parts(plan, np.arange(len(plan.slots)), error, errors)
    errors |= error.errors
    rows = np.setdiff1d(np.arange(len(plan.slots)), list(errors))
    return [(rows, _only(plan, rows))] if len(rows) else []


def _parts(part: BatchPlan, rows: NDArray[np.intp], error: Exception, errors: dict[int, Exception]) -> list[_Part]:
    """Return the halves of `part`, which is `rows` of the plan, the first to compute last; one that cannot be halved
    is noted in `errors`."""
    if len(rows) > 1:
        middle = len(rows) // 2
        first, second = np.arange(middle), np.arange(middle, len(rows))
        return [(rows[half], _only(part, half)) for half in (second, first)]
    if not is_out_of_memory(error):
        errors[int(rows[0])] = error
        return []
    if int(part.counts[0]) <= LEAST_TOKENS or part.drafts.any():
        errors[int(rows[0])] = TooLargeForMemory(part)
        return []
    return [(rows, half) for half in reversed(_chunks(part))]


def _chunks(part: BatchPlan) -> tuple[BatchPlan, BatchPlan]:
    """Return the one row of `part` as two shorter chunks; the second attends to what the first stored."""
    count = part.counts // 2
    first = replace(part, counts=count, samples=np.zeros_like(part.samples), decodes=0)
    return first, replace(part, starts=part.starts + count, counts=part.counts - count, decodes=0)


def _only(plan: BatchPlan, rows: NDArray[np.intp]) -> BatchPlan:
    return replace(
        plan,
        slots=plan.slots[rows],
        starts=plan.starts[rows],
        counts=plan.counts[rows],
        samples=plan.samples[rows],
        drafts=plan.drafts[rows] if len(plan.drafts) else plan.drafts,
        decodes=int(np.count_nonzero(rows < plan.decodes)),
    )
