"""Who yields when blocks run out, so that someone can always finish.

Guaranteed requests are never victims: those that may not be preempted, and of the others the oldest of the highest
priority that still fits beside them. All guaranteed requests fit into the pool at their full length, so each of them
finds its next block free or with a victim: whatever happens, one request finishes, and nothing deadlocks. Victims are
taken by lowest priority, then least progress, since their context is computed again (request-level recompute).
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.memory import MemoryManager
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

    def lacking(self, slot: int, pages: int = 0) -> int:
        """Return how many blocks the guarantees lack when `slot` starts and `pages` more are taken; 0 or less: none.

        What is guaranteed fits beside all pages, and so does each running request alone: once all others have ended,
        it is the one that is guaranteed.
        """
        slots = self._slots
        there = self._memory.total - self._memory.pages - pages
        guaranteed = int(slots.full_blocks[self.guaranteed()].sum())
        alone = int(slots.full_blocks[slots.phase == Phase.RUNNING].max(initial=0)) if pages else 0
        own = int(slots.full_blocks[slot])
        reserved = max(own, guaranteed if pages else 0) if slots.preemptible[slot] else guaranteed + own
        return max(reserved, alone) - there

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

    def claim_group(self, slot: int, groups: Iterable[NDArray[np.int64]]) -> None:
        """Park all of the first group whose every member is of strictly lower priority than waiting `slot`."""
        victims = self._victims(self.guaranteed())
        victims = victims[self._slots.priority[victims] < self._slots.priority[slot]]
        for group in groups:
            if np.isin(group, victims).all():
                for victim in group.tolist():
                    self.park(victim)
                return

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
        self._slots.settled[slot] = min(int(self._slots.settled[slot]), kept_tokens)
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
