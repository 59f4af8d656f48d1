"""How a victim's blocks are taken from it, and how it gets them back.

A victim of Request granularity gives up all its blocks, one of Token granularity only as much of its tail as is missing
and not less than `TAIL_SHARE` of what it holds, so that a long request is not bled block by block. What it keeps stays
in the arena, what it gives up is saved or dropped (`offload`). Saved KV comes back before the request runs again: it
gets all its blocks at once and is LOADING until the pages are copied in, while others run on.
"""

from typing import Final

import numpy as np

from tierline.scheduling.batching.modes.slices import begin_turn
from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.latency import LatencyModel
from tierline.scheduling.memory.blocks import MemoryManager
from tierline.scheduling.memory.reuse import Found
from tierline.scheduling.memory.saved_context import Lost, SavedContexts
from tierline.scheduling.memory.transfers import StorageTier
from tierline.scheduling.plans import EngineLimits
from tierline.scheduling.slots import Phase, SlotTable
from tierline.wire.credits import blocks_for

TAIL_SHARE: Final = 0.25


class Parking:
    """Parks requests and lets them go on; decides nothing about who."""

    def __init__(
        self,
        limits: EngineLimits,
        slots: SlotTable,
        memory: MemoryManager,
        latency: LatencyModel,
        saved: SavedContexts,
        *,
        counters: EngineCounters,
    ) -> None:
        self.saved = saved
        self._block_tokens = limits.block_tokens
        self._slice_tokens = limits.slice_tokens
        self._slots = slots
        self._memory = memory
        self._latency = latency
        self._counters = counters

    def park(self, slot: int, missing: int) -> None:
        """Take blocks from a running or partly parked request because `missing` are needed."""
        slots, memory = self._slots, self._memory
        kept_blocks = self._kept_blocks(slot, missing)
        computed = int(slots.computed[slot])
        kept_tokens = min(computed, kept_blocks * self._block_tokens)
        lost = self._lost(slot, kept_blocks, kept_tokens)
        tier = self.saved.save(slot, slots.request(slot), lost) if len(lost.blocks) else None
        memory.release_tail(slot, int(memory.owned[slot]) - kept_blocks, int(slots.last_planned[slot]))
        slots.phase[slot] = Phase.PARKED
        slots.changes += 1
        slots.all_decode = False
        slots.reached[slot] = max(int(slots.reached[slot]), computed)
        slots.computed[slot] = kept_tokens
        slots.settled[slot] = min(int(slots.settled[slot]), kept_tokens)
        self._count(tier, partial=kept_blocks > 0)

    def can_load(self, slot: int, found: Found) -> bool:
        """Say whether saved KV of `slot` is to be loaded behind what is `found` in the arena.

        What is not worth its load, or lies in the arena anyway, is dropped here.
        """
        if not self.saved.end[slot]:
            return False
        left = int(self.saved.end[slot]) - found.tokens
        recompute_ms = self._latency.coefficients.chunk_ms(left, found.tokens) if left > 0 else 0.0
        if left > 0 and self.saved.worth_loading(slot, self._slots.request(slot), recompute_ms):
            return True
        self.saved.drop(slot)
        return False

    def load(self, slot: int) -> None:
        """Begin the load of `slot`, which has all its blocks by now."""
        first_block = int(self._slots.computed[slot]) // self._block_tokens
        self.saved.load(slot, self._memory.table[slot], first_block)
        self._slots.phase[slot] = Phase.LOADING

    def loaded(self, slot: int) -> None:
        """Let a request run whose loads have ended; what was lost on the way is computed again."""
        slots = self._slots
        slots.computed[slot] = slots.settled[slot] = self.saved.loaded(slot, int(slots.computed[slot]))
        slots.phase[slot] = Phase.RUNNING
        self.started(slot)

    def started(self, slot: int) -> None:
        """Begin a request's turn, and count what it has to compute a second time."""
        begin_turn(self._slots, slot, self._slice_tokens)
        again = int(self._slots.reached[slot]) - int(self._slots.computed[slot])
        self._counters.recomputed_tokens += max(again, 0)
        self._slots.reached[slot] = 0

    def _kept_blocks(self, slot: int, missing: int) -> int:
        owned = int(self._memory.owned[slot])
        if self._slots.request(slot).granularity == "Request":
            return 0
        wanted = max(missing, int(owned * TAIL_SHARE), 1)
        exclusive = self._memory.references[self._memory.table[slot, :owned]] == 1
        yields = np.cumsum(exclusive[::-1])
        return owned - min(int(np.searchsorted(yields, wanted)) + 1, owned)

    def _lost(self, slot: int, kept_blocks: int, kept_tokens: int) -> Lost:
        computed = int(self._slots.computed[slot])
        end = max(blocks_for(computed, self._block_tokens), kept_blocks)
        recompute_ms = self._latency.coefficients.chunk_ms(computed - kept_tokens, kept_tokens)
        blocks = self._memory.table[slot, kept_blocks:end].copy()
        return Lost(blocks, kept_blocks, computed, int(self._slots.last_planned[slot]), recompute_ms)

    def _count(self, tier: StorageTier | None, partial: bool) -> None:
        counters = self._counters
        counters.preemptions_recompute += tier is None
        counters.preemptions_host += tier is StorageTier.HOST
        counters.preemptions_disk += tier is StorageTier.DISK
        counters.preemptions_partial += partial
