"""Who yields when blocks run out, so that someone can always finish.

Guaranteed requests are never victims: those that may not be preempted, and of the others the oldest of the highest
priority that still fits beside them. All guaranteed requests fit into the pool at their full length, so each of them
finds its next block free or with a victim: whatever happens, one request finishes, and nothing deadlocks. Victims are
taken by lowest priority, then least progress, since their context is computed again (request-level recompute).
"""

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.memory import Blocks, MemoryManager
from tierline.scheduling.slots import Phase, SlotTable


class Preemptor:
    """Chooses victims and parks them."""

    def __init__(self, slots: SlotTable, memory: MemoryManager) -> None:
        self._slots = slots
        self._memory = memory

    def guaranteed(self) -> NDArray[np.bool_]:
        """Return a mask over slots of the requests that nobody may preempt."""
        slots = self._slots
        running = slots.phase == Phase.RUNNING
        mask: NDArray[np.bool_] = running & ~slots.preemptible
        spare = self._memory.total - self._memory.pages - int(slots.full_blocks[mask].sum())
        fitting = np.flatnonzero(running & slots.preemptible & (slots.full_blocks <= spare))
        if len(fitting):
            mask[fitting[np.lexsort((slots.arrival[fitting], -slots.priority[fitting]))[0]]] = True
        return mask

    def may_reserve(self, slot: int) -> bool:
        """Say whether the guarantees still fit into the pool, beside its pages, when `slot` starts."""
        there = self._memory.total - self._memory.pages
        needed = int(self._slots.full_blocks[slot])
        if self._slots.preemptible[slot]:
            return needed <= there
        return int(self._slots.full_blocks[self.guaranteed()].sum()) + needed <= there

    def take_pages(self, count: int) -> Blocks | None:
        """Take `count` blocks for an adapter's weights; None while they are not free or requests are to have them.

        What is guaranteed still fits beside the pages, and so does each request that is here, alone.
        """
        memory = self._memory
        reserved = max(int(self._slots.full_blocks[self.guaranteed()].sum()), self._longest())
        return memory.take_pages(count) if reserved + memory.pages + count <= memory.total else None

    @property
    def excess_pages(self) -> int:
        """Pages that must be given back before the longest request here can run; it waits until then.

        Adapters in no running request's use give theirs back when this is not 0: with nothing running that is all of
        them, so that request starts at last.
        """
        return max(self._longest() + self._memory.pages - self._memory.total, 0)

    def _longest(self) -> int:
        slots = self._slots
        here = (slots.phase != Phase.FREE) & (slots.phase != Phase.ENDED)
        return int(slots.full_blocks[here].max(initial=0))

    def make_room(self, starved: NDArray[np.int64]) -> NDArray[np.int64]:
        """Park victims until each of `starved` has a block, free or cooling; returns those whose block is free now.

        A starved request that no one ranks below keeps what it has and stalls.
        """
        guaranteed = self.guaranteed()
        hungry = self._worst_first(starved, guaranteed)[::-1].tolist()
        for victim in self._victims(guaranteed).tolist():
            served = self._memory.free + self._memory.cooling
            if len(hungry) <= served or victim == hungry[served]:
                break
            self.park(victim)
            if victim in hungry:
                hungry.remove(victim)
        return np.array(hungry[: self._memory.free], np.int64)

    def claim(self, slot: int, missing: int) -> None:
        """Park requests of strictly lower priority than waiting `slot`, if that yields `missing` blocks in the end."""
        missing -= self._memory.cooling
        victims = self._victims(self.guaranteed())
        victims = victims[self._slots.priority[victims] < self._slots.priority[slot]]
        yields = np.cumsum([self._memory.exclusive(victim) for victim in victims.tolist()])
        if missing <= 0 or not len(yields) or yields[-1] < missing:
            return
        for victim in victims[: int(np.searchsorted(yields, missing)) + 1].tolist():
            self.park(victim)

    def park(self, slot: int, kept_tokens: int = 0) -> None:
        """Take a running request's blocks; it resumes from `kept_tokens` of saved context (0: recompute all)."""
        self._slots.phase[slot] = Phase.PARKED
        self._slots.computed[slot] = kept_tokens
        self._memory.release(slot, int(self._slots.last_planned[slot]))

    def _victims(self, guaranteed: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Running requests that may yield, first victim first; one whose last token is in flight frees itself."""
        slots = self._slots
        mask = (slots.phase == Phase.RUNNING) & ~guaranteed & (slots.known < slots.max_total)
        return self._worst_first(np.flatnonzero(mask), guaranteed)

    def _worst_first(self, candidates: NDArray[np.int64], guaranteed: NDArray[np.bool_]) -> NDArray[np.int64]:
        slots = self._slots
        keys = (-slots.arrival, slots.computed, slots.priority, guaranteed)
        return candidates[np.lexsort(tuple(key[candidates] for key in keys))]
