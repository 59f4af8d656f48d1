"""What a storage tier's store does for the executor."""

from typing import Protocol

import torch

from tierline.scheduling.memory.transfers import Transfer, TransferResult


class Store(Protocol):
    """The pages of one tier. Calls come from the engine's thread; transfers are obeyed in the order they are begun."""

    def begin(self, transfer: Transfer, arena: torch.Tensor) -> None:
        """Start a transfer between `arena`, uint8 [blocks, page bytes], and this tier.

        The blocks of a SAVE may be overwritten when this returns, those of a LOAD are whole once `completed` says so.
        """

    def completed(self, arena: torch.Tensor) -> list[TransferResult]:
        """Return what ended since the last call; never blocks."""

    def close(self) -> None:
        """Give the memory or the file back; what is under way is given up."""
