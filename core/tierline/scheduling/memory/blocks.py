"""The pool of blocks and who refers to which.

Blocks are numbers; the executor's arena holds the bytes. Paged KV with sharing and copy-on-write after PagedAttention
(Kwon et al., SOSP 2023); adapters' weights as pages of the same pool after S-LoRA (Sheng et al., MLSys 2024). Every
block is in one of five states:

    FREE     nobody refers to it, its content is worth nothing
    OWNED    one or more block tables refer to it, each counts as a reference
    PAGE     an adapter's weights lie in it
    COOLING  nobody refers to it, but an iteration in flight still computes on it
    CACHED   nobody refers to it, but it has a name: who needs its content takes it, who needs room evicts it

A block with several references is never written: only full blocks are shared, and whoever continues in a block that
another one filled in part gets a copy of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.memory.prefix_cache import PrefixCache
from tierline.scheduling.memory.table_rows import NO_ROWS, table_rows
from tierline.scheduling.plans import EngineLimits

Blocks = NDArray[np.int32]


class BlockState:
    """What a block is; plain numbers, compared with whole arrays."""

    FREE: Final = 0
    OWNED: Final = 1
    PAGE: Final = 2
    COOLING: Final = 3
    CACHED: Final = 4


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """Block tables by slot, pages, the free and cooling blocks in order, and the names with the order of eviction.

    `touched[b]` is the last iteration that computes on a block its owners let go. `updates` are rows of the block
    table that no plan has told the executor yet.
    """

    tables: tuple[tuple[int, ...], ...]
    pages: tuple[int, ...]
    free: tuple[int, ...]
    cooling: tuple[int, ...]
    touched: tuple[int, ...]
    names: tuple[tuple[bytes, int], ...]
    idle: tuple[int, ...]
    updates: tuple[tuple[int, ...], ...]
    committed_iteration: int


class MemoryManager:
    """Gives blocks to slots and takes them back; counts and names only, no policy.

    `table` [slots, blocks per request] holds each slot's blocks in order, `owned` [slots] how many, `references`
    [blocks] how many table entries name a block, `more_references` how many of these entries are not the first one,
    `releases` how often blocks were let go."""

    def __init__(self, limits: EngineLimits, counters: EngineCounters) -> None:
        self.total = limits.total_blocks
        self.table = np.full((limits.max_running_requests, limits.blocks_per_request), -1, np.int32)
        self.owned = np.zeros(limits.max_running_requests, np.int64)
        self.references = np.zeros(limits.total_blocks, np.int32)
        self.state = np.full(limits.total_blocks, BlockState.FREE, np.int8)
        self.cache = PrefixCache()
        self.pages = 0
        self.releases = 0
        self.committed_iteration = 0
        self._counters = counters
        self._touched = np.zeros(limits.total_blocks, np.int64)
        self._stack = np.arange(limits.total_blocks - 1, -1, -1, dtype=np.int32)
        self._top = limits.total_blocks
        self._cooling = np.empty(0, np.int32)
        self.more_references = 0
        self._updates: list[tuple[int, int, int]] = []

    @property
    def free(self) -> int:
        """Blocks that can be given away now, those in the cache too."""
        return self._top + self.cache.idle

    @property
    def cooling(self) -> int:
        """Blocks that become free or cached when the iterations in flight are committed."""
        return len(self._cooling)

    @property
    def used(self) -> int:
        """Blocks that belong to a slot or an adapter, shared ones counted once."""
        return self.total - self.free - self.cooling

    @property
    def free_list(self) -> Blocks:
        """The free blocks, the next one to be given last."""
        return self._stack[: self._top]

    @property
    def cooling_list(self) -> Blocks:
        """The cooling blocks in the order in which they were let go."""
        return self._cooling

    def exclusive(self, slot: int) -> int:
        """Return how many blocks would be let go if `slot` released all of its own."""
        return int(np.count_nonzero(self.references[self.table[slot, : self.owned[slot]]] == 1))

    def unclaimed(self, blocks: Sequence[int]) -> int:
        """Return how many of the found `blocks` count as free now, so that taking them leaves fewer for others."""
        return int(np.count_nonzero(self.state[list(blocks)] == BlockState.CACHED)) if blocks else 0

    def append_one_each(self, slots: NDArray[np.int64]) -> NDArray[np.int32]:
        """Give each of `slots` one more block; returns the rows (slot, index, block) of the table that changed."""
        blocks = self._pop(len(slots), BlockState.OWNED)
        indexes = self.owned[slots]
        self.table[slots, indexes] = blocks
        self.owned[slots] = indexes + 1
        return table_rows(slots, indexes, blocks)

    def append(self, slot: int, count: int) -> NDArray[np.int32]:
        """Give `slot` `count` more blocks; returns the changed rows (slot, index, block)."""
        return self._append(slot, self._pop(count, BlockState.OWNED))

    def share(self, slot: int, found: Sequence[int]) -> NDArray[np.int32]:
        """Let `slot` refer to the `found` full blocks next; returns the changed rows (slot, index, block)."""
        blocks = np.array(found, np.int32)
        self._refer(blocks)
        return self._append(slot, blocks)

    def release(self, slot: int, barrier: int) -> None:
        """Let go all blocks of `slot`; see `release_tail`."""
        self.release_tail(slot, int(self.owned[slot]), barrier)

    def release_tail(self, slot: int, count: int, barrier: int) -> None:
        """Let go the last `count` blocks of `slot`, whose newest iteration is `barrier`.

        Those that nobody else refers to can be given away once `barrier` is committed (now if it is).
        """
        kept = int(self.owned[slot]) - count
        assert kept >= 0, f"slot {slot} has {kept + count} blocks, not {count}"
        blocks = self.table[slot, kept : kept + count][::-1].copy()
        self.owned[slot] = kept
        self._let_go(blocks, barrier)

    def read_by(self, block: int, iteration: int) -> None:
        """Note that `iteration` copies `block`: let go meanwhile, it is given away only once that is committed."""
        self._touched[block] = max(int(self._touched[block]), iteration)

    def take_pages(self, count: int) -> Blocks | None:
        """Take `count` blocks for an adapter's weights, None when so many are not free. What requests are guaranteed is
        the caller's to keep (`Preemptor.lacking`)."""
        if count > self.free:
            return None
        self.pages += count
        return self._pop(count, BlockState.PAGE)

    def give_pages(self, blocks: Blocks, barrier: int = 0) -> None:
        """Let pages go; they can be given away once iteration `barrier`, the newest to read them, is committed."""
        assert (self.state[blocks] == BlockState.PAGE).all(), "a block that is no page"
        self.pages -= len(blocks)
        self._let_go(blocks, barrier)

    def name(self, slot: int, index: int, key: bytes, barrier: int) -> None:
        """Name a block of `slot` whose KV is there; `barrier` is the slot's newest iteration.

        Was the same computed elsewhere meanwhile, then `slot` refers to that block from now on and lets its own go:
        both hold the same KV, so iterations in flight may read either.
        """
        block = int(self.table[slot, index])
        known = self.cache.block_of(key)
        if known is None:
            if block not in self.cache:
                self.cache.name(key, block)
        elif known != block:
            self._refer(np.array([known], np.int32))
            self.table[slot, index] = known
            self._updates.append((slot, index, known))
            self._let_go(np.array([block], np.int32), barrier)

    def forget(self, slot: int) -> Blocks:
        """Take the names of all blocks of `slot` away; returns those that nobody else refers to."""
        blocks = self.table[slot, : self.owned[slot]].copy()
        for block in blocks.tolist():
            self.cache.forget(block)
        exclusive: Blocks = blocks[self.references[blocks] == 1]
        return exclusive

    def take_updates(self) -> NDArray[np.int32]:
        """Return the rows (slot, index, block) that changed outside of a plan, once; they precede the plan's own."""
        if not self._updates:
            return NO_ROWS
        updates, self._updates = np.array(self._updates, np.int32), []
        return updates

    def committed(self, iteration: int) -> None:
        """Hand on the blocks that waited for `iteration`."""
        self.committed_iteration = iteration
        if not len(self._cooling):
            return
        done = self._touched[self._cooling] <= iteration
        blocks, self._cooling = self._cooling[done], self._cooling[~done]
        self._retire(blocks)

    def snapshot(self) -> MemorySnapshot:
        """Return the state as plain values."""
        return MemorySnapshot(
            tables=tuple(tuple(row[:owned].tolist()) for row, owned in zip(self.table, self.owned, strict=True)),
            pages=tuple(np.flatnonzero(self.state == BlockState.PAGE).tolist()),
            free=tuple(self.free_list.tolist()),
            cooling=tuple(self._cooling.tolist()),
            touched=tuple(self._touched.tolist()),
            names=self.cache.pairs,
            idle=self.cache.idle_list,
            updates=tuple(self._updates),
            committed_iteration=self.committed_iteration,
        )

    def restore(self, snapshot: MemorySnapshot) -> None:
        """Take over a snapshot of a pool of the same size."""
        self.committed_iteration = snapshot.committed_iteration
        self._top, self.pages = len(snapshot.free), len(snapshot.pages)
        self._stack[: self._top] = snapshot.free
        self._cooling = np.array(snapshot.cooling, np.int32)
        self._touched[:] = snapshot.touched
        self._updates = [(slot, index, block) for slot, index, block in snapshot.updates]
        self.cache.restore(snapshot.names, snapshot.idle)
        self.references[:] = 0
        for slot, table in enumerate(snapshot.tables):
            self.owned[slot] = len(table)
            self.table[slot, : len(table)] = table
            self.references[list(table)] += 1
        self.references[list(snapshot.pages)] = 1
        self.more_references = int(np.maximum(self.references - 1, 0).sum())
        self.state[:] = np.where(self.references > 0, BlockState.OWNED, BlockState.FREE)
        for blocks, state in (
            (snapshot.pages, BlockState.PAGE),
            (snapshot.cooling, BlockState.COOLING),
            (snapshot.idle, BlockState.CACHED),
        ):
            self.state[list(blocks)] = state

    def _append(self, slot: int, blocks: Blocks) -> NDArray[np.int32]:
        first, count = int(self.owned[slot]), len(blocks)
        self.table[slot, first : first + count] = blocks
        self.owned[slot] += count
        return table_rows(slot, np.arange(first, first + count), blocks)

    def _refer(self, blocks: Blocks) -> None:
        for block in blocks[self.state[blocks] == BlockState.CACHED].tolist():
            self.cache.revive(block)
        if (self.state[blocks] == BlockState.COOLING).any():
            self._cooling = self._cooling[~np.isin(self._cooling, blocks)]
        self.more_references += int(np.count_nonzero(self.references[blocks]))
        self.references[blocks] += 1
        self.state[blocks] = BlockState.OWNED

    def _let_go(self, blocks: Blocks, barrier: int) -> None:
        """Count a reference less on each of `blocks`, tail first; to index with 32 bits costs several times as much."""
        self.releases += 1
        at = blocks.astype(np.intp)
        self.references[at] -= 1
        self._touched[at] = np.maximum(self._touched[at], barrier)
        idle = at[self.references[at] == 0]
        self.more_references -= len(at) - len(idle)
        hot = self._touched[idle] > self.committed_iteration
        self.state[idle[hot]] = BlockState.COOLING
        self._cooling = np.concatenate((self._cooling, idle[hot].astype(np.int32)))
        self._retire(idle[~hot])

    def _retire(self, blocks: Blocks | NDArray[np.intp]) -> None:
        nameless = self.cache.retire(blocks.tolist())
        self.state[blocks] = BlockState.CACHED
        self._push(nameless)

    def _pop(self, count: int, state: int) -> Blocks:
        assert count <= self.free, f"{count} blocks asked, {self.free} free"
        if count > self._top:
            self._evict(count - self._top)
        self._top -= count
        blocks = self._stack[self._top : self._top + count][::-1].copy()
        at = blocks.astype(np.intp)
        self.references[at], self.state[at] = 1, state
        return blocks

    def _evict(self, count: int) -> None:
        self._push(self.cache.evict(count))
        self._counters.evicted_blocks += count

    def _push(self, blocks: Sequence[int]) -> None:
        count = len(blocks)
        self.state[blocks] = BlockState.FREE
        self._stack[self._top : self._top + count] = blocks
        self._top += count
