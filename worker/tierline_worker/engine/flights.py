"""Iterations between their plan and their result: on a device that computes by itself, one is made ahead of the other.

While the device computes iteration N, the engine delivers N-1 and plans and launches N+1; the device finds N+1 queued
when N ends and never waits for planning (as SGLang's overlap scheduler does). N+1 reads the tokens of N where N wrote
them, on the device, so no host has to see them first. An executor that computes within the call has `max_in_flight` 1.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.plans import BatchPlan, IterationResult
from tierline_worker.engine.isolation import Computes, RowsFailed, compute_in_parts, is_out_of_memory
from tierline_worker.executor import Pending, Sampled, nothing_sampled
from tierline_worker.slots import SlotLoad


class Executes(Computes, Protocol):
    """Takes a plan's deltas once, then computes its rows, asynchronously where the device can.

    `launch` begins a plan and returns what waits for its result; results are asked for in the order of the launches.
    Both may raise whatever a kernel raises. `max_in_flight` launches may await their result. `may_run_ahead` says
    whether the plan can be applied and launched while the one before it is computed: not if it needs its tokens on the
    host, and not if its deltas move KV, since the plan before could not be repeated then. `clear` zeroes the KV of
    blocks that a failed request left. `apply` returns, by slot, why requests could not be taken over; what it raises
    makes the whole plan impossible.
    """

    max_in_flight: int

    def apply(self, plan: BatchPlan, loads: Sequence[SlotLoad]) -> Mapping[int, Exception]: ...

    def may_run_ahead(self, plan: BatchPlan, loads: Sequence[SlotLoad]) -> bool: ...

    def launch(self, plan: BatchPlan) -> Pending: ...

    def clear(self, blocks: NDArray[np.int32]) -> None: ...


@dataclass(frozen=True, slots=True)
class Landed:
    """A computed plan: what its rows sampled, the errors of rows that failed by themselves, and its duration.

    Where iterations follow each other without a gap, the duration is the time since the one before it landed.
    `out_of_memory`: the plan did not fit as a whole and was computed in parts.
    """

    plan: BatchPlan
    sampled: Sampled
    errors: dict[int, Exception]
    elapsed_s: float
    out_of_memory: bool = False

    @property
    def result(self) -> IterationResult:
        """What the scheduling core hears of it; of a broken iteration no duration, so that it learns none."""
        broken = self.errors or self.out_of_memory
        return IterationResult(
            self.plan.iteration,
            self.sampled.stopped,
            0.0 if broken else self.elapsed_s * 1e3,
            self.sampled.counts,
            self.sampled.drafted,
            out_of_memory=self.out_of_memory,
        )


@dataclass(slots=True)
class _Flight:
    plan: BatchPlan
    loads: Sequence[SlotLoad]
    launched_s: float | None = None
    pending: Pending | None = None
    failed: RowsFailed | None = None


class Flights:
    """Plans whose results are awaited, oldest first; `clock` gives seconds."""

    def __init__(self, executor: Executes, clock: Callable[[], float]) -> None:
        self._executor = executor
        self._clock = clock
        self._queue: deque[_Flight] = deque()
        self._landed_s = 0.0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """True when the oldest must land before another plan is made."""
        return len(self._queue) >= self._executor.max_in_flight

    def add(self, plan: BatchPlan, loads: Sequence[SlotLoad]) -> None:
        """Launch `plan`, now or when the one before it has landed; raises what `apply` raises."""
        self._queue.append(_Flight(plan, loads))
        if len(self._queue) == 1 or self._executor.may_run_ahead(plan, loads):
            self._start(self._queue[-1])

    def land(self) -> Landed:
        """Wait for the oldest plan. What failed as a whole is computed in parts, and rows at fault fail alone."""
        flight = self._queue.popleft()
        assert flight.pending is not None
        assert flight.launched_s is not None
        errors, out_of_memory = dict[int, Exception](), False
        try:
            sampled = flight.pending()
        except Exception as error:  # noqa: BLE001 whatever a kernel raises must not end the engine
            out_of_memory = is_out_of_memory(error)
            sampled, errors = self._repeat(flight.plan, error)
        now_s = self._clock()
        elapsed_s = now_s - max(flight.launched_s, self._landed_s)
        self._landed_s = now_s
        self._start_held()
        return Landed(flight.plan, sampled, errors, elapsed_s, out_of_memory)

    def abandon(self) -> None:
        """Wait until the device is done with everything launched, and forget it."""
        for flight in self._queue:
            _settle(flight)
        self._queue.clear()

    def _start(self, flight: _Flight) -> None:
        flight.failed = RowsFailed.of(flight.plan, self._executor.apply(flight.plan, flight.loads))
        self._launch(flight)

    def _launch(self, flight: _Flight) -> None:
        flight.launched_s = self._clock()
        if not len(flight.plan.slots):
            flight.pending = partial(nothing_sampled, flight.plan)
            return
        if flight.failed is not None:
            flight.pending = partial(_raise, flight.failed)
            return
        try:
            flight.pending = self._executor.launch(flight.plan)
        except Exception as error:  # noqa: BLE001 it is the plan's result, and raised when that is asked for
            flight.pending = partial(_raise, error)

    def _repeat(self, plan: BatchPlan, error: Exception) -> tuple[Sampled, dict[int, Exception]]:
        """Compute a failed plan again; what ran behind it read tokens that do not exist, so it runs again as well."""
        behind = [flight for flight in self._queue if flight.pending is not None]
        for flight in behind:
            _settle(flight)
        sampled, errors = compute_in_parts(self._executor, plan, error)
        for flight in behind:
            self._launch(flight)
        return sampled, errors

    def _start_held(self) -> None:
        if self._queue and self._queue[0].pending is None:
            self._start(self._queue[0])


def _settle(flight: _Flight) -> None:
    if flight.pending is not None:
        with suppress(Exception):
            flight.pending()


def _raise(error: Exception) -> NoReturn:
    raise error
