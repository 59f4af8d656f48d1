"""Work that several processes share: each takes what is due, keeps what it holds, and gives back what it leaves.

    a process that dies is taken over at most LEASE_S + TURN_S after its last renewal

`LEASE_S` is some turns long, so that a store that is slow once loses nobody his work; and clocks of gateways that
share a store may differ by a part of it only. Work that failed unexpectedly is begun again with the next turn.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace

from tierline_gateway.deferred.store import Record, RecordStore, StoreUnavailable

log = logging.getLogger(__name__)

LEASE_S = 15.0
TURN_S = 2.0


class Holding:
    """The work of one kind that this process holds. `holder` is the process's alone; `most` bounds what it holds."""

    def __init__(
        self,
        store: RecordStore,
        kind: str,
        holder: str,
        most: int,
        work: Callable[[Record], Coroutine[None, None, None]],
    ) -> None:
        self._store = store
        self._kind = kind
        self._holder = holder
        self._most = most
        self._work = work
        self._held: dict[str, Record] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    @property
    def holds(self) -> int:
        return len(self._held)

    async def put(self, record: Record) -> None:
        """Store new work, whose time is set here, and begin it at once where there is room for it."""
        if self._stopping or self.holds >= self._most:
            await self._store.put(replace(record, due_s=time.time()))
            return
        mine = replace(record, due_s=time.time() + LEASE_S)
        await self._store.put(mine, self._holder)
        self._begin(mine)

    async def run(self) -> None:
        """Take, renew and begin again until cancelled."""
        while True:
            try:
                await self.turn()
            except StoreUnavailable as error:
                log.warning("work of kind %s cannot be looked for: %s", self._kind, error)
            await asyncio.sleep(TURN_S)

    async def turn(self) -> None:
        now_s = time.time()
        held = await self._store.renew(self._kind, self._holder, tuple(self._held), now_s + LEASE_S)
        for lost in self._held.keys() - held:
            await self.drop(lost)
        room = self._most - len(self._held)
        wanted = room > 0 and not self._stopping
        taken = await self._store.take(self._kind, self._holder, now_s, now_s + LEASE_S, room) if wanted else []
        if self._stopping:
            await self._give_back([record.id for record in taken])
            return
        for record in (*taken, *(it for it in self._held.values() if it.id not in self._tasks)):
            self._begin(record)

    async def abandon(self) -> None:
        """Stop working without giving anything back, as a process does that dies."""
        for record_id in tuple(self._held):
            await self.drop(record_id)

    async def drop(self, record_id: str) -> None:
        """Stop working on something that is gone or somebody else's."""
        self._held.pop(record_id, None)
        task = self._tasks.get(record_id)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        """Stop working for good and let others go on at once."""
        self._stopping = True
        held = tuple(self._held)
        await self.abandon()
        await self._give_back(held)

    async def _give_back(self, held: Collection[str]) -> None:
        try:
            await self._store.renew(self._kind, self._holder, held, time.time())
        except StoreUnavailable as error:
            log.warning("work of kind %s will be taken over in %g s: %s", self._kind, LEASE_S, error)

    def _begin(self, record: Record) -> None:
        self._held[record.id] = record
        if record.id not in self._tasks:
            task = asyncio.create_task(self._run_one(record), name=record.id)
            self._tasks[record.id] = task
            task.add_done_callback(lambda _: self._tasks.pop(record.id, None))

    async def _run_one(self, record: Record) -> None:
        try:
            await self._work(record)
            self._held.pop(record.id, None)
        except StoreUnavailable as error:
            log.warning("%s cannot go on now: %s", record.id, error)
        except Exception:
            log.exception("%s cannot go on, it is tried again", record.id)
