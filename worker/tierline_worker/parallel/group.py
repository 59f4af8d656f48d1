"""How ranks add up and collect their parts of a result."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import distributed

_MEETING_SECONDS = 600


class RankLost(Exception):
    """A rank is gone, hangs or went another way: the worker cannot compute any longer. The message is the reason."""


class RankGroup(Protocol):
    """The ranks of one worker; every rank calls the same functions in the same order. Both raise `RankLost`."""

    @property
    def rank(self) -> int: ...

    @property
    def ranks(self) -> int: ...

    def summed(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of every rank's `x`, the same bits on each rank. May write to `x`."""
        ...

    def gathered(self, x: torch.Tensor) -> torch.Tensor:
        """Return every rank's `x` [rows, columns] beside each other, in the order of ranks."""
        ...


class _TorchGroup:
    """A process group of torch that this object owns: none is global."""

    def __init__(self, rank: int, ranks: int) -> None:
        self.rank, self.ranks = rank, ranks
        self._group: Any = None

    def summed(self, x: torch.Tensor) -> torch.Tensor:
        # Sums of 16-bit numbers would round once for each rank.
        total = x.float().contiguous()
        self._wait(lambda: self._group.allreduce([total]))
        return total.to(x.dtype)

    def gathered(self, x: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(self.ranks)]
        self._wait(lambda: self._group.allgather([parts], [x.contiguous()]))
        return torch.cat(parts, dim=-1)

    def _wait(self, begin: Callable[[], Any]) -> None:
        try:
            begin().wait()
        except RuntimeError as error:
            raise RankLost(f"another rank does not answer: {error}") from error


class GlooGroup(_TorchGroup):
    """Ranks on CPUs of one machine, over the loopback interface."""

    def __init__(self, rank: int, ranks: int, meeting_place: Path, limit_s: int) -> None:
        """Meet the other ranks at a new file, within ten minutes; later no call takes longer than `limit_s`.

        Raises `RankLost` when they do not come.
        """
        super().__init__(rank, ranks)
        # Built directly: torch's own functions keep the group in a global, and choose the interface by the host's name.
        library: Any = distributed
        options = library.ProcessGroupGloo._Options()
        options._devices = [library.ProcessGroupGloo.create_device(hostname="127.0.0.1")]
        options._timeout = timedelta(seconds=_MEETING_SECONDS)
        try:
            store = library.FileStore(str(meeting_place), ranks)
            self._group = library.ProcessGroupGloo(store, rank, ranks, options)
        except RuntimeError as error:
            raise RankLost(f"the ranks did not meet: {error}") from error
        self._group.set_timeout(timedelta(seconds=limit_s))


class NCCLGroup(_TorchGroup):
    """Ranks on GPUs of one machine, one each.

    Calls are queued on the GPU's stream, so a rank that hangs is seen by the host only when it waits for a result:
    NCCL's watchdog then ends this process after `limit_s`, which the worker sees as a rank that ended.
    """

    def __init__(self, rank: int, ranks: int, meeting_place: Path, limit_s: int) -> None:
        """Name the group's file; the ranks meet at the first call. Raises `RankLost` without NCCL."""
        super().__init__(rank, ranks)
        if not distributed.is_nccl_available():
            raise RankLost("this build of torch has no NCCL: set TIERLINE_TENSOR_PARALLEL to 1")
        library: Any = distributed
        options = library.ProcessGroupNCCL.Options()
        options._timeout = timedelta(seconds=limit_s)
        store = library.FileStore(str(meeting_place), ranks)
        self._group = library.ProcessGroupNCCL(store, rank, ranks, options)


def open_group(device: torch.device, rank: int, ranks: int, meeting_place: Path, limit_s: int) -> RankGroup:
    """Return the group for ranks on devices like `device`."""
    kind = GlooGroup if device.type == "cpu" else NCCLGroup
    return kind(rank, ranks, meeting_place, limit_s)
