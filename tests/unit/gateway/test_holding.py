"""Work that processes share: who holds what, and what happens when one is full, stops, or is too slow."""

import asyncio

import pytest
from memory_records import MemoryRecords

from tierline_gateway.deferred.holding import Holding
from tierline_gateway.deferred.store import NEVER, Record, StoreUnavailable

KIND = "ticket"


class Process:
    """One that holds work until it is told that something is done."""

    def __init__(self, store: MemoryRecords, name: str, most: int = 2) -> None:
        self.begun: list[str] = []
        self.done = asyncio.Event()
        self.fails: list[Exception] = []
        self.holding = Holding(store, KIND, name, most, self.work)
        self._store = store

    async def work(self, record: Record) -> None:
        self.begun.append(record.id)
        if self.fails:
            raise self.fails.pop()
        await self.done.wait()
        await self._store.replace(Record(KIND, record.id, "acme", b"over"), record.document)

    async def turn(self) -> list[str]:
        """Take a turn and let what was begun run; returns what began."""
        before = len(self.begun)
        await self.holding.turn()
        for _ in range(3):
            await asyncio.sleep(0)
        return self.begun[before:]


def due(name: str) -> Record:
    return Record(KIND, name, "acme", b"open", due_s=0.0)


@pytest.fixture
def store() -> MemoryRecords:
    return MemoryRecords()


async def test_new_work_begins_where_it_was_made_and_stays_there(store) -> None:
    first, second = Process(store, "g0"), Process(store, "g1")
    await first.holding.put(due("a"))
    assert await second.turn() == []
    await asyncio.sleep(0)
    assert first.begun == ["a"]


async def test_who_is_full_leaves_work_to_others(store) -> None:
    first, second = Process(store, "g0", most=1), Process(store, "g1", most=1)
    for name in ("a", "b"):
        await first.holding.put(due(name))
    assert await first.turn() == ["a"]
    assert await second.turn() == ["b"]
    assert first.holding.holds == second.holding.holds == 1


async def test_who_stops_hands_over_at_once_and_takes_nothing_again(store) -> None:
    first, second = Process(store, "g0"), Process(store, "g1")
    await first.holding.put(due("a"))
    await first.holding.stop()
    await first.holding.put(due("b"))
    assert await first.turn() == []
    assert sorted(await second.turn()) == ["a", "b"]


async def test_who_lost_his_work_stops_it(store) -> None:
    """A process that slept past its lease finds its work with another one."""
    first, second = Process(store, "g0"), Process(store, "g1")
    await first.holding.put(due("a"))
    await store.renew(KIND, "g0", ["a"], 0.0)
    assert await second.turn() == ["a"]
    assert await first.turn() == []
    assert first.holding.holds == 0


async def test_work_that_failed_is_begun_again_with_the_next_turn(store) -> None:
    process = Process(store, "g0")
    process.fails = [ValueError("a defect"), StoreUnavailable("gone")]
    await store.put(due("a"))
    assert [await process.turn() for _ in range(4)] == [["a"], ["a"], ["a"], []]


async def test_what_is_over_is_held_no_longer(store) -> None:
    process = Process(store, "g0")
    await process.holding.put(due("a"))
    process.done.set()
    await process.turn()
    await asyncio.sleep(0)
    assert process.holding.holds == 0
    assert (await store.get(KIND, "a")).due_s == NEVER
    assert await process.turn() == []
