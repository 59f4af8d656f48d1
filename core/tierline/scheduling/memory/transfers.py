"""Copies of KV pages between the arena and the tiers below it: host memory and disk.

The core counts and names pages, the executor copies bytes. A transfer is named by its ticket; the core hears of its
end through `SchedulerCore.transferred` and treats what failed as never saved.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class StorageTier(StrEnum):
    """Where pages are kept outside the arena."""

    HOST = "host"
    DISK = "disk"


class Direction(StrEnum):
    """SAVE copies arena blocks out, LOAD copies pages back in."""

    SAVE = "save"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class Transfer:
    """Page `pages[i]` of `tier` and arena block `blocks[i]` exchange their bytes in `direction`; both int32 [n].

    The blocks of a SAVE may be overwritten as soon as the plan that holds it was applied. The blocks of a LOAD are
    read only after it ended.
    """

    ticket: int
    direction: Direction
    tier: StorageTier
    blocks: NDArray[np.int32]
    pages: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TransferResult:
    """How a transfer ended: what it took, and whether the bytes are there."""

    ticket: int
    elapsed_ms: float
    ok: bool = True
