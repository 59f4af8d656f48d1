"""Executes plans on all ranks in lock-step."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.plans import BatchPlan
from tierline_worker.executor import Executor, LockStep, Sampled
from tierline_worker.parallel.group import RankLost
from tierline_worker.parallel.ranks import Ranks
from tierline_worker.slots import SlotLoad

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Apply:
    plan: BatchPlan
    loads: Sequence[SlotLoad]


@dataclass(frozen=True, slots=True)
class _Compute:
    plan: BatchPlan


@dataclass(frozen=True, slots=True)
class _Clear:
    blocks: NDArray[np.int32]


class TensorParallelExecutor(LockStep):
    """Rank 0's executor, and through their pipes those of the other ranks.

    An error that every rank has (numbers that are not finite) is the request's, as with one rank. Anything else, a rank
    that is gone, hangs or fails alone, ends the worker within the ranks' time limit: its streams continue elsewhere.
    """

    def __init__(self, own: Executor, ranks: Ranks) -> None:
        self._own = own
        self._ranks = ranks
        self._gone = threading.Event()

    def apply(self, plan: BatchPlan, loads: Sequence[SlotLoad]) -> Mapping[int, Exception]:
        """As `Executor.apply`; raises `RankLost`."""
        self._tell(_Apply(plan, loads))
        return self._own.apply(plan, loads)

    def clear(self, blocks: NDArray[np.int32]) -> None:
        """As `Executor.clear`; raises `RankLost`."""
        self._tell(_Clear(blocks))
        self._own.clear(blocks)

    def compute(self, plan: BatchPlan) -> Sampled:
        """As `Executor.compute`; raises `RankLost`."""
        if alone := self._ranks.failures():
            self._lost(f"rank 0 succeeded, but not {'; '.join(alone)}")
        self._tell(_Compute(plan))
        try:
            return self._own.compute(plan)
        except RankLost as error:
            self._lost(str(error))
        except Exception as error:
            failed = len(self._ranks.failures(self._ranks.limit_s))
            if failed < len(self._ranks.process_ids):
                self._lost(f"rank 0 failed, others did not: {error!r}")
            raise
        raise AssertionError("losing a rank raises")

    def _tell(self, message: object) -> None:
        try:
            self._ranks.tell(message)
        except RankLost as error:
            self._lost(str(error))

    def _lost(self, reason: str) -> None:
        self._ranks.lose(reason)
        # The process is ending; were this an error of a request, its user would see it instead of a continued stream.
        self._gone.wait(self._ranks.limit_s)
        raise RankLost(reason)


def serve_rank(executor: Executor, pipe: Connection) -> None:
    """Execute what rank 0 executes until its pipe ends; returns then, and raises `RankLost` when the group breaks."""
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            _execute(executor, message)
        except RankLost:
            raise
        except Exception as error:  # noqa: BLE001 rank 0 decides what an error means
            _LOG.warning("this rank failed: %r", error)
            pipe.send(repr(error))


def _execute(executor: Executor, message: _Apply | _Clear | _Compute) -> None:
    match message:
        case _Apply(plan, loads):
            executor.apply(plan, loads)
        case _Clear(blocks):
            executor.clear(blocks)
        case _Compute(plan):
            executor.compute(plan)
