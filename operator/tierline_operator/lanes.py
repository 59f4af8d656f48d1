"""Turns at the API server: few requests at a time, and those that make workers first.

What is sent at once the server answers together, each the later the more there are. So at most `AT_ONCE` requests are
under way, and of those that wait the most urgent goes next. Every `FAIR_TURN`-th turn is that of whoever has waited
longest, so that statuses are told in the longest storm too.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum

AT_ONCE = 8
FAIR_TURN = 4


class Lane(IntEnum):
    """How urgent a request is: what workers wait for, what a fleet needs beside them, what is only said."""

    WORKERS = 0
    CHILDREN = 1
    WORDS = 2


class Lanes:
    """Gives out turns to the requests of one leadership."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = at_once
        self._waiting: dict[Lane, deque[tuple[int, asyncio.Future[None]]]] = {lane: deque() for lane in Lane}
        self._arrivals = itertools.count()
        self._turns = itertools.count(1)

    @asynccontextmanager
    async def turn(self, lane: Lane) -> AsyncIterator[None]:
        """Wait for a turn, and have it inside the block."""
        await self._take(lane)
        try:
            yield
        finally:
            self._pass_on()

    async def _take(self, lane: Lane) -> None:
        if self._free:
            self._free -= 1
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting[lane].append((next(self._arrivals), mine))
        try:
            await mine
        except asyncio.CancelledError:
            # Cancelled in the moment in which the turn came: it is somebody else's then.
            if mine.done() and not mine.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while any(self._waiting.values()):
            turn = self._next_lane().popleft()[1]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _next_lane(self) -> deque[tuple[int, asyncio.Future[None]]]:
        queues = [queue for queue in self._waiting.values() if queue]
        return min(queues, key=lambda queue: queue[0][0]) if next(self._turns) % FAIR_TURN == 0 else queues[0]
