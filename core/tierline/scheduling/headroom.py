"""What a worker has room for, as it tells gateways: requests, blocks, and what waits before a new one.

Inputs: slots, memory and what is saved or yields. Bounds: no number is below 0, and blocks are those of the pool at the
most. A snapshot of this moment: who acts on it later asks `room` again.
"""

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.adapters import AdapterResidency
from tierline.scheduling.feeding import Feed
from tierline.scheduling.memory import MemoryManager
from tierline.scheduling.plans import EngineLimits
from tierline.scheduling.preemption import Preemptor
from tierline.scheduling.saved_context import SavedContexts
from tierline.scheduling.slots import Phase, SlotTable


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
        """How many more requests gateways may be promised: those that the next iterations start, if slots are free."""
        waiting, backlog_tokens = self._backlog()
        return min(self.free_requests, self.feed.room(waiting, backlog_tokens))

    @property
    def free_blocks(self) -> int:
        """Blocks that neither belong to a request nor will be needed for the context of one that waits.

        Adapters that no running request uses give theirs back when a request needs them.
        """
        slots = self._slots
        unused = self._adapters.unused_pages if self._limits.max_adapters else 0
        there = self._memory.total - self._memory.used + unused
        if slots.all_decode:
            return there
        return max(there - self._owed((slots.phase == Phase.WAITING) | (slots.phase == Phase.PARKED)), 0)

    def room(self, priority: int) -> tuple[int, int]:
        """Return how many requests and blocks one of `priority` finds here: lower ones yield to it and are not waited
        for."""
        slots = self._slots
        before = slots.priority >= priority
        waiting, backlog_tokens = self._backlog(before)
        owed = self._owed(before & ((slots.phase == Phase.WAITING) | (slots.phase == Phase.PARKED)))
        unused = self._adapters.unused_pages if self._limits.max_adapters else 0
        there = self._memory.total - self._memory.used + unused + self._preemptor.yields_below(priority)
        requests = min(self.free_requests, self.feed.room(waiting, backlog_tokens))
        return requests, max(min(there, self._memory.total) - owed, 0)

    @property
    def rooms(self) -> tuple[tuple[int, int, int], ...]:
        """What credits cannot tell when they run short: rows (priority, requests, blocks), the room of a request above
        that priority, for each priority here."""
        if self.grantable_requests and self.free_blocks >= self._limits.blocks_per_request:
            return ()
        here = self._slots.priority[(self._slots.phase != Phase.FREE) & (self._slots.phase != Phase.ENDED)]
        return tuple((priority, *self.room(priority + 1)) for priority in np.unique(here).tolist())

    @property
    def backlog_tokens(self) -> int:
        """Tokens of prompts that are not computed yet."""
        return self._backlog()[1]

    def _owed(self, waiting: NDArray[np.bool_]) -> int:
        """Return how many blocks the contexts of these slots still need."""
        if not np.count_nonzero(waiting):
            return 0
        needed = -(-self._slots.known[waiting] // self._limits.block_tokens)
        return int((needed - self._memory.owned[waiting]).sum())

    def _backlog(self, among: NDArray[np.bool_] | None = None) -> tuple[int, int]:
        """Count the requests, `among` these slots, whose context is not computed yet, and the tokens that it lacks."""
        slots = self._slots
        if slots.all_decode:
            return 0, 0
        left = slots.known - np.maximum(slots.computed + slots.reusable, self._saved.end)
        unfinished = (slots.phase != Phase.FREE) & (slots.phase != Phase.ENDED) & (left > 1)
        counted = unfinished if among is None else unfinished & among
        return int(np.count_nonzero(counted)), int(left[counted].sum())
