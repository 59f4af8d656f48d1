"""Storage tiers without a device: they hold what the pretended device's pages held, and transfers end when told to.

A load's blocks are poisoned when it begins and written when it ends, so whoever reads them meanwhile, or gets them
before the load has ended, is noticed.
"""

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.memory.transfers import Direction, StorageTier, Transfer, TransferResult
from tierline.scheduling.plans import EngineLimits
from tierline.sim.pages import POISON, Pages


class FakeTiers:
    """The host and the disk tier below `pages`."""

    def __init__(self, limits: EngineLimits, pages: Pages) -> None:
        self._pages = pages
        self._kept = {
            StorageTier.HOST: np.full((limits.host_blocks, limits.block_tokens), POISON, np.int64),
            StorageTier.DISK: np.full((limits.disk_blocks, limits.block_tokens), POISON, np.int64),
        }
        self._begun: dict[int, tuple[Transfer, NDArray[np.int64]]] = {}

    @property
    def begun(self) -> tuple[int, ...]:
        """Tickets of the transfers that have not ended, the oldest first."""
        return tuple(self._begun)

    def begin(self, transfers: tuple[Transfer, ...], direction: Direction) -> None:
        """Begin those of a plan's transfers that go in `direction`."""
        for transfer in transfers:
            if transfer.direction is direction:
                self._begun[transfer.ticket] = (transfer, self._pages.saved(transfer.blocks))
                if direction is Direction.LOAD:
                    self._pages.poison(transfer.blocks)

    def end(self, ticket: int, elapsed_ms: float = 1.0, ok: bool = True) -> TransferResult:
        """End a transfer; one that is not `ok` leaves poison where it was to write."""
        transfer, staged = self._begun.pop(ticket)
        kept = self._kept[transfer.tier]
        if transfer.direction is Direction.SAVE:
            kept[transfer.pages] = staged if ok else POISON
        elif ok:
            self._pages.load(transfer.blocks, kept[transfer.pages])
        return TransferResult(ticket, elapsed_ms, ok)
