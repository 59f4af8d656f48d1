"""How ranks add up and collect their parts of a result."""

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


class GlooGroup:
    """Ranks on CPUs of one machine, over the loopback interface."""

    def __init__(self, rank: int, ranks: int, meeting_place: Path, limit_s: int) -> None:
        """Meet the other ranks at a new file, within ten minutes; later no call takes longer than `limit_s`.

        Raises `RankLost` when they do not come.
        """
        self.rank, self.ranks = rank, ranks
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

    def summed(self, x: torch.Tensor) -> torch.Tensor:
        # Sums of 16-bit numbers would round once for each rank.
        total = x.float().contiguous()
        try:
            self._group.allreduce([total]).wait()
        except RuntimeError as error:
            raise RankLost(f"another rank does not answer: {error}") from error
        return total.to(x.dtype)

    def gathered(self, x: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(self.ranks)]
        try:
            self._group.allgather([parts], [x.contiguous()]).wait()
        except RuntimeError as error:
            raise RankLost(f"another rank does not answer: {error}") from error
        return torch.cat(parts, dim=-1)
