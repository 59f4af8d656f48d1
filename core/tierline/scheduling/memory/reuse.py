"""Computing nothing twice: a waiting context takes over what is computed already, and names what it computes.

Two sources, whichever reaches further:
- the prefix cache, by the keys of the context's full blocks (`prefix_keys`);
- for a fork (`EngineRequest.fork_of`), the request it has its prompt in common with. Full blocks are shared by
  reference; the block in which the prompt ends is copied, since both will write it (copy-on-write after PagedAttention,
  Kwon et al., SOSP 2023; with the prompt's last token computed anew at once, the first write is the fork's first step).

At least one token is left to compute: it gives the next one.

Blocks get their names when their iteration is committed, so nobody takes over what may still fail. A prompt that is
being computed is therefore not waited for: whoever begins meanwhile computes the same blocks, and at commit the second
table entry is turned to the first block. Waiting instead would tie requests to each other's cancellation and priority;
the memory is what the duplicates would cost for long, and that comes back. Only a fork waits, for a request of its own
priority or above that runs: if that one is preempted, ends or is cancelled, the fork begins by itself.
"""

from collections.abc import Sequence
from itertools import islice

import msgspec
import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.memory.blocks import MemoryManager
from tierline.scheduling.plans import BatchPlan, EngineLimits
from tierline.scheduling.slots import Phase, SlotTable
from tierline.wire.credits import blocks_for

NO_BLOCK = -1


class Found(msgspec.Struct, frozen=True):
    """What is there of a context: its first `tokens`, in the slot's own blocks, in full `blocks` to refer to next, and
    in the beginning of block `source`, to be copied (`NO_BLOCK`: nothing is)."""

    tokens: int
    blocks: Sequence[int] = ()
    source: int = NO_BLOCK


class PrefixReuse:
    """Finds computed context for waiting requests, hands it over, and names what is committed."""

    def __init__(self, limits: EngineLimits, slots: SlotTable, memory: MemoryManager, counters: EngineCounters) -> None:
        self._block_tokens = limits.block_tokens
        self._caching = limits.prefix_caching
        self._slots = slots
        self._memory = memory
        self._counters = counters

    def awaits(self, slot: int) -> bool:
        """Say whether `slot` is a fork whose prompt is being computed by a request that nobody ranks it above."""
        slots = self._slots
        parent = self._parent(slot)
        return (
            parent is not None
            and slots.phase[slot] == Phase.WAITING
            and bool(slots.priority[parent] >= slots.priority[slot])
            and bool(slots.settled[parent] < self._common_tokens(slot))
        )

    def find(self, slot: int) -> Found:
        """Return what is there of the context of `slot`, which waits."""
        slots, memory = self._slots, self._memory
        owned, start = int(memory.owned[slot]), int(slots.computed[slot])
        found = Found(start)
        # Otherwise the context goes on in the middle of a block, or where saved KV will be.
        if start == owned * self._block_tokens:
            last = (int(slots.known[slot]) - 1) // self._block_tokens
            blocks = memory.cache.find(islice(slots.block_keys[slot], owned, last)) if self._caching else []
            found = Found(start + len(blocks) * self._block_tokens, blocks)
            if not owned:
                found = max(found, self._computed_by_parent(slot), key=lambda each: each.tokens)
        slots.reusable[slot] = found.tokens - start
        slots.shared[slot] = self._held(found.blocks)
        return found

    def held_blocks(self, keys: Sequence[bytes], context_tokens: int) -> int:
        """Return how many blocks of a context others hold, so that it would take none for them."""
        last = (context_tokens - 1) // self._block_tokens
        return self._held(self._memory.cache.find(islice(keys, last))) if self._caching else 0

    def missing_blocks(self, slot: int, found: Found) -> int:
        """Return by how much taking `slot` in with `found` lessens the free blocks."""
        needed = blocks_for(int(self._slots.known[slot]), self._block_tokens) - int(self._memory.owned[slot])
        return needed - self._held(found.blocks)

    def _held(self, blocks: Sequence[int]) -> int:
        return len(blocks) - self._memory.unclaimed(blocks)

    def take(self, slot: int, found: Found) -> tuple[list[NDArray[np.int32]], list[tuple[int, int]]]:
        """Give `slot` the blocks of its whole context, those `found` first.

        Returns the changed rows of the block table (slot, index, block) and the copies (source block, target block).
        """
        slots, memory = self._slots, self._memory
        first, start = int(memory.owned[slot]), int(slots.computed[slot])
        updates = [memory.share(slot, found.blocks)] if len(found.blocks) else []
        shared = int(memory.owned[slot])
        updates.append(memory.append(slot, blocks_for(int(slots.known[slot]), self._block_tokens) - shared))
        copies = [(found.source, int(memory.table[slot, shared]))] if found.source != NO_BLOCK else []
        slots.computed[slot] = found.tokens
        # The copy is made with the plan: until that is committed, no other fork may take its block for a source.
        slots.settled[slot] = shared * self._block_tokens if copies else found.tokens
        slots.named[slot] = min(int(slots.named[slot]), first)
        slots.reusable[slot] = slots.shared[slot] = 0
        self._count(slot, start, found)
        return updates, copies

    def settle(self, plan: BatchPlan, touched: NDArray[np.intp]) -> None:
        """Note up to where KV is there for good now that `plan` is committed, and name the blocks that became full.

        `touched` are the plan's slots, by row. `confirmed` already holds the plan's accepted drafts, and not yet the
        token that each row sampled.
        """
        slots = self._slots
        ends = plan.starts + plan.counts
        running = slots.phase[touched] == Phase.RUNNING
        if np.count_nonzero(running) < len(touched):
            touched, ends = touched[running], ends[running]
        slots.settled[touched] = np.minimum(ends, slots.confirmed[touched])
        if self._caching:
            full = slots.settled[touched] // self._block_tokens
            for slot in touched[full > slots.named[touched]].tolist():
                self._name(slot)

    def name_block(self, slot: int, index: int, key: bytes) -> None:
        """Learn the key of the block that the request's own tokens have filled; keys come in order."""
        keys = self._slots.block_keys[slot]
        assert index == len(keys), f"key of block {index} after {len(keys)} keys"
        keys.append(key)
        if self._caching and self._slots.phase[slot] == Phase.RUNNING:
            self._name(slot)

    def _name(self, slot: int) -> None:
        slots = self._slots
        keys, first = slots.block_keys[slot], int(slots.named[slot])
        end = min(int(slots.settled[slot]) // self._block_tokens, len(keys))
        for index in range(first, end):
            self._memory.name(slot, index, keys[index], int(slots.last_planned[slot]))
        slots.named[slot] = max(first, end)

    def _parent(self, slot: int) -> int | None:
        """Return the running slot that a fork continues from, None when there is none."""
        name = self._slots.request(slot).fork_of
        parent = self._slots.slot_of.get(name) if name else None
        return parent if parent is not None and self._slots.phase[parent] == Phase.RUNNING else None

    def _common_tokens(self, slot: int) -> int:
        return min(self._slots.request(slot).prompt_tokens, int(self._slots.known[slot]) - 1)

    def _computed_by_parent(self, slot: int) -> Found:
        parent = self._parent(slot)
        if parent is None:
            return Found(0)
        tokens = min(self._common_tokens(slot), int(self._slots.settled[parent]))
        full, partial = divmod(tokens, self._block_tokens)
        table = self._memory.table[parent]
        return Found(tokens, table[:full].tolist(), int(table[full]) if partial else NO_BLOCK)

    def _count(self, slot: int, start: int, found: Found) -> None:
        counters = self._counters
        if self._slots.block_keys[slot] or found.tokens > start:
            counters.prefix_query_tokens += int(self._slots.known[slot]) - start
        counters.prefix_hit_tokens += found.tokens - start
        counters.copied_blocks += found.source != NO_BLOCK
