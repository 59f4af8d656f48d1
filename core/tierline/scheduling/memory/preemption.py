"""Who yields when blocks run out, so that someone can always finish.

Guaranteed requests are never victims: those that may not be preempted, and of the others the oldest of the highest
priority that still fits beside them. All guaranteed requests fit into the pool at their full length, so each of them
finds its next block free or with a victim: whatever happens, one request finishes, and nothing deadlocks. Victims are
taken by lowest priority, of one priority those first that are parked in part already and do not run, then by least
progress, since their context may be computed again. What is taken of them and where it goes is `parking`'s business.

Blocks of a request that is LOADING are no victim's: a load writes them. It ends, and then they are.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.batching.modes import slices
from tierline.scheduling.memory.blocks import MemoryManager
from tierline.scheduling.memory.parking import Parking
from tierline.scheduling.plans import EngineLimits
from tierline.scheduling.slots import Phase, SlotTable


class Preemptor:
    """Chooses victims and parks them. `reserve` are the blocks above the pressure threshold."""

    def __init__(self, limits: EngineLimits, slots: SlotTable, memory: MemoryManager, parking: Parking) -> None:
        self.reserve = limits.total_blocks * (100 - limits.pressure_percent) // 100
        self.parking = parking
        self._slots = slots
        self._memory = memory

    def guaranteed(self) -> NDArray[np.bool_]:
        """Return a mask over slots of the requests that nobody may preempt."""
        slots = self._slots
        running = slots.phase == Phase.RUNNING
        mask: NDArray[np.bool_] = running & ~slots.preemptible
        spare = self._memory.total - self._memory.pages - int(np.add.reduce(slots.full_blocks[mask]))
        fitting = (running & slots.preemptible & (slots.full_blocks <= spare)).nonzero()[0]
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
        own = int(slots.full_blocks[slot])
        if slots.preemptible[slot] and not pages:
            return own - there
        guaranteed = int(slots.full_blocks[self.guaranteed()].sum())
        alone = int(slots.full_blocks[slots.active].max(initial=0)) if pages else 0
        reserved = max(own, guaranteed) if slots.preemptible[slot] else guaranteed + own
        return max(reserved, alone) - there

    def relieve(self) -> None:
        """Let low priorities yield before blocks run out, so that a higher one never waits for them to cool.

        Below the pressure threshold requests that rank under a growing one give up blocks, until twice the threshold's
        reserve is free or all that the growing ones can still need; what was parked comes back only above that.
        """
        slots, memory = self._slots, self._memory
        there = memory.free + memory.cooling
        if there >= self.reserve:
            return
        growing = (slots.phase == Phase.RUNNING) & (memory.owned < slots.full_blocks)
        for victim in self._victims(self.guaranteed()).tolist():
            above = growing & (slots.priority > slots.priority[victim])
            need = int((slots.full_blocks - memory.owned)[above].sum())
            missing = min(2 * self.reserve, need) - memory.free - memory.cooling
            if missing <= 0:
                return
            self.park(victim, missing)

    def air(self, slot: int) -> int:
        """Blocks that must stay free when `slot` starts: some for those who run, else an admission ends in a
        preemption; twice the reserve where a higher priority runs, else it would be the next to yield."""
        running = self._slots.phase == Phase.RUNNING
        air = min(int(np.count_nonzero(running)), self._memory.total // 32)
        outranked = bool((self._slots.priority[running] > self._slots.priority[slot]).any())
        return max(air, 2 * self.reserve) if outranked else air

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
            self.park(victim, len(hungry) - served)
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
        """Park requests that yield to waiting `slot`, if that gives `missing` blocks in the end."""
        missing -= self._memory.cooling
        if missing <= 0:
            return
        victims = self.yielding_to(slot)
        yields = self._yields(victims)
        if not len(yields) or yields[-1] < missing:
            return
        target = self._memory.free + self._memory.cooling + missing
        turn_over = slices.used_up(self._slots, slot)
        for victim in victims[: int(np.searchsorted(yields, missing)) + 1].tolist():
            self.park(victim, target - self._memory.free - self._memory.cooling)
            if victim in turn_over:
                slices.end_turn(self._slots, victim)

    def park(self, slot: int, missing: int = 1) -> None:
        """Take blocks from `slot`, of which `missing` are needed now."""
        self.parking.park(slot, missing)

    def yielding_to(self, slot: int) -> NDArray[np.intp]:
        """Return who yields to waiting `slot`, first victim first: strictly lower priorities, of its own those that are
        parked in part and come after it, and those of its class whose slice is used up."""
        slots = self._slots
        victims = self._victims(self.guaranteed())
        lower = victims[slots.priority[victims] < slots.priority[slot]]
        equal = victims[(slots.priority[victims] == slots.priority[slot]) & (slots.phase[victims] == Phase.PARKED)]
        rank = (slots.deadline_ms[slot], slots.arrival[slot])
        after = [victim for victim in equal.tolist() if (slots.deadline_ms[victim], slots.arrival[victim]) > rank]
        return np.concatenate((lower, np.array(after, np.intp), slices.used_up(slots, slot)))

    def yielded_below(self, victims: NDArray[np.intp], priority: int) -> int:
        """Return how many blocks come free when those of `victims` that rank below `priority` give up all of theirs."""
        memory, below = self._memory, victims[self._slots.priority[victims] < priority]
        if not len(below) or not memory.more_references:
            return int(np.add.reduce(memory.owned[below]))
        given = np.concatenate([memory.table[victim, : memory.owned[victim]] for victim in below.tolist()])
        blocks, references = np.unique(given, return_counts=True)
        return int(np.count_nonzero(references == memory.references[blocks]))

    def _yields(self, victims: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return how many blocks come free when the first one, two, three of `victims` give up all of theirs."""
        memory = self._memory
        if not memory.more_references:
            return np.cumsum(memory.owned[victims])
        referred = np.zeros(memory.total, np.int32)
        freed, total = [], 0
        for victim in victims.tolist():
            blocks = memory.table[victim, : memory.owned[victim]]
            referred[blocks] += 1
            total += int(np.count_nonzero(referred[blocks] == memory.references[blocks]))
            freed.append(total)
        return np.array(freed, np.int64)

    def victims(self, guaranteed: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return who has blocks and may yield, in no order; one whose last token is in flight frees itself."""
        slots = self._slots
        yielding = (slots.phase == Phase.RUNNING) & ~guaranteed & (slots.known < slots.max_total)
        yielding |= (slots.phase == Phase.PARKED) & (self._memory.owned > 0)
        found: NDArray[np.intp] = yielding.nonzero()[0]
        return found

    def _victims(self, guaranteed: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return them in order, first victim first."""
        return self._worst_first(self.victims(guaranteed), guaranteed)

    def _worst_first(self, candidates: NDArray[np.intp], guaranteed: NDArray[np.bool_]) -> NDArray[np.intp]:
        slots = self._slots
        keys = (-slots.arrival, slots.computed, slots.phase != Phase.PARKED, slots.priority, guaranteed)
        return candidates[np.lexsort(tuple(key[candidates] for key in keys))]
