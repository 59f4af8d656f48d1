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
        # The pace promised to those here, and as of which change of them.
        self._pace = (-1, np.inf)
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
        return self._grantable(*self._backlog())

    def _grantable(self, waiting: int, backlog_tokens: int) -> int:
        kept = self._limits.max_running_requests // SLOTS_PER_KEPT
        return min(max(self.free_requests - kept, 0), self.feed.room(waiting, backlog_tokens))

    @property
    def free_blocks(self) -> int:
        """Blocks that neither belong to a request nor will be needed for the context of one that waits.

        Adapters that no running request uses give theirs back when a request needs them.
        """
        if self._slots.all_decode:
            return self._unclaimed_blocks()
        return max(self._unclaimed_blocks() - int(np.add.reduce(self._owed_blocks())), 0)

    def _unclaimed_blocks(self) -> int:
        unused = self._adapters.unused_pages if self._limits.max_adapters else 0
        return self._memory.total - self._memory.used + unused

    def room(self, priority: int) -> tuple[int, int]:
        """Return how many requests and blocks one of `priority` finds here: lower ones yield to it and are not waited
        for."""
        victims = self._preemptor.victims(self._preemptor.guaranteed())
        return self._room(priority, self._lacking_tokens(), self._owed_blocks(), victims)

    def _room(
        self, priority: int, lacking: NDArray[np.int64], owed: NDArray[np.int64], victims: NDArray[np.intp]
    ) -> tuple[int, int]:
        before = self._slots.priority >= priority
        there = min(self._unclaimed_blocks() + self._preemptor.yielded_below(victims, priority), self._memory.total)
        mine = lacking[before]
        room = self.feed.room(int(np.count_nonzero(mine)), int(np.add.reduce(mine)))
        return min(self.free_requests, room), max(there - int(np.add.reduce(owed[before])), 0)

    @property
    def rooms(self) -> tuple[tuple[int, int, int], ...]:
        """What credits cannot tell when they run short: rows (priority, requests, blocks), the room of a request above
        that priority, for each priority here."""
        if self._slots.all_decode and self._suffices(self._grantable(0, 0), self._unclaimed_blocks()):
            return ()
        lacking, owed = self._lacking_tokens(), self._owed_blocks()
        grantable = self._grantable(int(np.count_nonzero(lacking)), int(np.add.reduce(lacking)))
        free_blocks = self._unclaimed_blocks() - int(np.add.reduce(owed))
        if self._suffices(grantable, free_blocks):
            return ()
        here = sorted(set(self._slots.priority[self._present].tolist()))
        victims = self._preemptor.victims(self._preemptor.guaranteed())
        return tuple((each, *self._room(each + 1, lacking, owed, victims)) for each in here)

    def _suffices(self, grantable: int, free_blocks: int) -> bool:
        """Say whether credits tell all: one request of any length more finds room."""
        return grantable > 0 and free_blocks >= self._limits.blocks_per_request

    @property
    def pace_budget_ms(self) -> float:
        """The tightest time per token that a request here was promised, 0 when none was."""
        changes, tightest_ms = self._pace
        if changes != self._slots.changes:
            tightest_ms = float(np.minimum.reduce(self._slots.tpot_ms[self._present], initial=np.inf))
            self._pace = self._slots.changes, tightest_ms
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
        """Return by slot how many tokens of its context are not computed yet, 0 where it is all but the last.

        A slot that nobody holds knows no tokens.
        """
        slots = self._slots
        left = slots.known - np.maximum(slots.computed + slots.reusable, self._saved.end)
        lacking: NDArray[np.int64] = left * (left > 1)
        return lacking

    def _backlog(self) -> tuple[int, int]:
        """Count the requests whose context is not computed yet, and the tokens that it lacks."""
        if self._slots.all_decode:
            return 0, 0
        lacking = self._lacking_tokens()
        return int(np.count_nonzero(lacking)), int(np.add.reduce(lacking))
