"""The pool of KV blocks and who owns which.

Blocks are numbers; the executor's arena holds the bytes. Every block is free, owned by one slot, or cooling: an
iteration in flight still computes on it, so it becomes free only when that iteration is committed. Paged KV after
PagedAttention (Kwon et al., SOSP 2023).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.plans import EngineLimits

FREE = -1
COOLING = -2


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """Block tables by slot, the free blocks in order, and the blocks that cool until an iteration is committed."""

    tables: tuple[tuple[int, ...], ...]
    free: tuple[int, ...]
    cooling: tuple[tuple[int, tuple[int, ...]], ...]
    committed_iteration: int


class MemoryManager:
    """Gives blocks to slots and takes them back; counts only, no policy."""

    def __init__(self, limits: EngineLimits) -> None:
        self.total = limits.total_blocks
        self.table = np.full((limits.max_running_requests, limits.blocks_per_request), -1, np.int32)
        self.owned = np.zeros(limits.max_running_requests, np.int64)
        self.holder = np.full(limits.total_blocks, FREE, np.int64)
        self._stack = np.arange(limits.total_blocks - 1, -1, -1, dtype=np.int32)
        self._top = limits.total_blocks
        self._cooling: list[tuple[int, NDArray[np.int32]]] = []
        self.committed_iteration = 0

    @property
    def free(self) -> int:
        """Blocks that can be given away now."""
        return self._top

    @property
    def cooling(self) -> int:
        """Blocks that become free when the iterations in flight are committed."""
        return sum(len(blocks) for _, blocks in self._cooling)

    @property
    def used(self) -> int:
        """Blocks that belong to a slot."""
        return int(self.owned.sum())

    @property
    def free_list(self) -> NDArray[np.int32]:
        """The free blocks, the next one to be given last."""
        return self._stack[: self._top]

    @property
    def cooling_until(self) -> tuple[tuple[int, NDArray[np.int32]], ...]:
        """Pairs of an iteration and the blocks that wait for it."""
        return tuple(self._cooling)

    def append_one_each(self, slots: NDArray[np.int64]) -> NDArray[np.int32]:
        """Give each of `slots` one more block; returns the rows (slot, index, block) of the table that changed."""
        blocks = self._pop(len(slots))
        indexes = self.owned[slots]
        self.table[slots, indexes] = blocks
        self.holder[blocks] = slots
        self.owned[slots] += 1
        return np.stack((slots, indexes, blocks), axis=1).astype(np.int32)

    def append(self, slot: int, count: int) -> NDArray[np.int32]:
        """Give `slot` `count` more blocks; returns the changed rows (slot, index, block)."""
        blocks = self._pop(count)
        first = int(self.owned[slot])
        self.table[slot, first : first + count] = blocks
        self.holder[blocks] = slot
        self.owned[slot] += count
        rows = np.empty((count, 3), np.int32)
        rows[:, 0], rows[:, 1], rows[:, 2] = slot, np.arange(first, first + count), blocks
        return rows

    def release(self, slot: int, barrier: int) -> None:
        """Take back all blocks of `slot`; they are free once iteration `barrier` is committed (now if it is)."""
        count = int(self.owned[slot])
        blocks = self.table[slot, :count].copy()
        self.owned[slot] = 0
        if barrier <= self.committed_iteration:
            self._push(blocks)
        elif count:
            self.holder[blocks] = COOLING
            self._cooling.append((barrier, blocks))

    def committed(self, iteration: int) -> None:
        """Free the blocks that waited for `iteration`."""
        self.committed_iteration = iteration
        if not self._cooling:
            return
        for barrier, blocks in self._cooling:
            if barrier <= iteration:
                self._push(blocks)
        self._cooling = [entry for entry in self._cooling if entry[0] > iteration]

    def snapshot(self) -> MemorySnapshot:
        """Return the state as plain values."""
        tables = tuple(tuple(row[:owned].tolist()) for row, owned in zip(self.table, self.owned, strict=True))
        cooling = tuple((barrier, tuple(blocks.tolist())) for barrier, blocks in self._cooling)
        return MemorySnapshot(tables, tuple(self.free_list.tolist()), cooling, self.committed_iteration)

    def restore(self, snapshot: MemorySnapshot) -> None:
        """Take over a snapshot of a pool of the same size."""
        self.committed_iteration = snapshot.committed_iteration
        self._top = len(snapshot.free)
        self._stack[: self._top] = snapshot.free
        self.holder[:] = FREE
        self._cooling = [(barrier, np.array(blocks, np.int32)) for barrier, blocks in snapshot.cooling]
        for _, blocks in self._cooling:
            self.holder[blocks] = COOLING
        for slot, table in enumerate(snapshot.tables):
            self.owned[slot] = len(table)
            self.table[slot, : len(table)] = table
            self.holder[list(table)] = slot

    def _pop(self, count: int) -> NDArray[np.int32]:
        assert count <= self._top, f"{count} blocks asked, {self._top} free"
        self._top -= count
        return self._stack[self._top : self._top + count][::-1].copy()

    def _push(self, blocks: NDArray[np.int32]) -> None:
        self.holder[blocks] = FREE
        self._stack[self._top : self._top + len(blocks)] = blocks[::-1]
        self._top += len(blocks)
