"""The storage tiers of one worker: begins a plan's transfers, tells what ended, counts what was moved."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from tierline.scheduling.memory.transfers import Direction, StorageTier, Transfer, TransferResult
from tierline_worker.tiers.store import Store

_POLL_S: Final = 0.0005


@dataclass(slots=True)
class Moved:
    """Totals of one tier and direction since the worker began; `bytes_per_second` is that of the newest transfer."""

    bytes: int = 0
    seconds: float = 0.0
    failed: int = 0
    bytes_per_second: float = 0.0


class KVTiers:
    """Moves pages between the arena and `stores`; without stores it has nothing to do.

    `arena` is the KV arena, [blocks, ...]; a block's bytes are a page.
    """

    def __init__(self, arena: torch.Tensor, stores: Mapping[StorageTier, Store]) -> None:
        self._arena = arena.view(arena.shape[0], -1).view(torch.uint8)
        self._stores = stores
        self._under_way: dict[int, Transfer] = {}
        self.moved = {(tier, direction): Moved() for tier in stores for direction in Direction}

    @property
    def page_bytes(self) -> int:
        return self._arena.shape[1]

    @property
    def kept(self) -> tuple[StorageTier, ...]:
        """The tiers that this worker has."""
        return tuple(self._stores)

    def begin(self, transfer: Transfer) -> None:
        """Start a transfer; the order of calls is the order in which the bytes are moved."""
        self._under_way[transfer.ticket] = transfer
        self._stores[transfer.tier].begin(transfer, self._arena)

    def completed(self) -> list[TransferResult]:
        """Return what ended since the last call; never blocks."""
        results = [result for store in self._stores.values() for result in store.completed(self._arena)]
        for result in results:
            self._count(self._under_way.pop(result.ticket), result)
        return results

    def wait(self, timeout_s: float) -> list[TransferResult]:
        """Return what ended as soon as something has, or nothing after `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while not (results := self.completed()) and self._under_way and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        return results

    def settle(self) -> None:
        """Wait for all that is under way and forget it: a new core numbers its tickets from the start."""
        while self._under_way:
            self.wait(_POLL_S)

    def close(self) -> None:
        for store in self._stores.values():
            store.close()

    def measure(self, tier: StorageTier, direction: Direction, pages: int) -> float:
        """Return how many milliseconds a transfer of `pages` takes; nothing else may be under way.

        A SAVE reads the arena's first blocks, a LOAD overwrites them: only for a worker that warms up.
        """
        numbers = np.arange(pages, dtype=np.int32)
        self.begin(Transfer(0, direction, tier, numbers, numbers))
        results: list[TransferResult] = []
        while not results:
            results = self.wait(_POLL_S)
        return results[0].elapsed_ms

    def _count(self, transfer: Transfer, result: TransferResult) -> None:
        moved = self.moved[transfer.tier, transfer.direction]
        if not result.ok:
            moved.failed += 1
            return
        copied, seconds = len(transfer.pages) * self.page_bytes, result.elapsed_ms / 1e3
        moved.bytes += copied
        moved.seconds += seconds
        if seconds > 0:
            moved.bytes_per_second = copied / seconds
