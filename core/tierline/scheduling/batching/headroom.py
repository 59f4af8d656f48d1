"""What a worker has room for, as it tells gateways: requests, blocks, and what waits before a new one.

Inputs: slots, memory and what is saved or yields. Bounds: no number is below 0, and blocks are those of the pool at the
most. A snapshot of this moment: who acts on it later asks `room` again.
"""

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.batching.feeding import Feed
from tierline.scheduling.memory.adapters import AdapterResidency
from tierline.scheduling.memory.blocks import MemoryManager
from tierline.scheduling.memory.preemption import Preemptor
from tierline.scheduling.memory.saved_context import SavedContexts
from tierline.scheduling.plans import EngineLimits
from tierline.scheduling.slots import Phase, SlotTable

SLOTS_PER_KEPT = 32
"""One slot of so many is kept for a higher priority than any that runs."""


class Headroom:
    """Counts what is free and what is promised; `closed` says that new requests are refused."""

    def __init__(
        self,
        limits: EngineLimits,
        slots: SlotTable,
        memory: MemoryManager,
        saved: SavedContexts,
        adapters: AdapterResidency,
        *,
        preemptor: Preemptor,
    ) -> None:
        self._limits = limits
        self._slots = slots
        self._memory = memory
        self._saved = saved
        self._adapters = adapters
        self._preemptor = preemptor
        self.feed = Feed(limits)
        self.closed = False

    def close(self) -> None:
        """Have room for no new request from now on."""
        self.closed = True

    @property
    def free_requests(self) -> int:
        """How many more requests `submit` would take now."""
        return 0 if self.closed else self._slots.free

    @property
    def grantable_requests(self) -> int:
        """How many more requests gateways may be promised: those that the next iterations start, if slots are free.

        A few slots are kept for priorities above those here (`rooms`): a slot, unlike memory, is not given back before
        its request ends, so a flood of one tier would shut out the tiers above it.
        """
        waiting, backlog_tokens = self._backlog()
        kept = self._limits.max_running_requests // SLOTS_PER_KEPT
        return min(max(self.free_requests - kept, 0), self.feed.room(waiting, backlog_tokens))

    @property
    def free_blocks(self) -> int:
        """Blocks that neither belong to a request nor will be needed for the context of one that waits.

        Adapters that no running request uses give theirs back when a request needs them.
        """
        unused = self._adapters.unused_pages if self._limits.max_adapters else 0
        there = self._memory.total - self._memory.used + unused
        if self._slots.all_decode:
            return there
        return max(there - int(self._owed_blocks().sum()), 0)

    def room(self, priority: int) -> tuple[int, int]:
        """Return how many requests and blocks one of `priority` finds here: lower ones yield to it and are not waited
        for."""
        return self._room(priority, self._lacking_tokens(), self._owed_blocks(), self._preemptor.yields())

    def _room(
        self, priority: int, lacking: NDArray[np.int64], owed: NDArray[np.int64], yields: list[tuple[int, int]]
    ) -> tuple[int, int]:
        before = self._slots.priority >= priority
        unused = self._adapters.unused_pages if self._limits.max_adapters else 0
        yielding = max((blocks for victim_priority, blocks in yields if victim_priority < priority), default=0)
        there = self._memory.total - self._memory.used + unused + yielding
        mine = lacking[before]
        room = self.feed.room(int(np.count_nonzero(mine)), int(np.add.reduce(mine)))
        return min(self.free_requests, room), max(min(there, self._memory.total) - int(owed[before].sum()), 0)

    @property
    def rooms(self) -> tuple[tuple[int, int, int], ...]:
        """What credits cannot tell when they run short: rows (priority, requests, blocks), the room of a request above
        that priority, for each priority here."""
        if self.grantable_requests and self.free_blocks >= self._limits.blocks_per_request:
            return ()
        here = self._slots.priority[self._present]
        lacking, owed, yields = self._lacking_tokens(), self._owed_blocks(), self._preemptor.yields()
        return tuple((each, *self._room(each + 1, lacking, owed, yields)) for each in sorted(set(here.tolist())))

    @property
    def pace_budget_ms(self) -> float:
        """The tightest time per token that a request here was promised, 0 when none was."""
        tightest_ms = float(self._slots.tpot_ms[self._present].min(initial=np.inf))
        return tightest_ms if tightest_ms < np.inf else 0.0

    @property
    def _present(self) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = (self._slots.phase != Phase.FREE) & (self._slots.phase != Phase.ENDED)
        return mask

    @property
    def backlog_tokens(self) -> int:
        """Tokens of prompts that are not computed yet."""
        return self._backlog()[1]

    def _owed_blocks(self) -> NDArray[np.int64]:
        """Return by slot how many blocks its context still needs that nobody holds, 0 for those who have begun."""
        slots = self._slots
        waiting = (slots.phase == Phase.WAITING) | (slots.phase == Phase.PARKED)
        owed: NDArray[np.int64] = waiting * (
            -(-slots.known // self._limits.block_tokens) - self._memory.owned - slots.shared
        )
        return owed

    def _lacking_tokens(self) -> NDArray[np.int64]:
        """Return by slot how many tokens of its context are not computed yet, 0 where it is all but the last."""
        slots = self._slots
        left = slots.known - np.maximum(slots.computed + slots.reusable, self._saved.end)
        lacking: NDArray[np.int64] = left * (self._present & (left > 1))
        return lacking

    def _backlog(self) -> tuple[int, int]:
        """Count the requests whose context is not computed yet, and the tokens that it lacks."""
        if self._slots.all_decode:
            return 0, 0
        lacking = self._lacking_tokens()
        return int(np.count_nonzero(lacking)), int(lacking.sum())
