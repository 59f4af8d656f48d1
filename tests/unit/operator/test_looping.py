"""The queue of looks: how many are under way, in which order, and how they end."""

import asyncio
import itertools

import kopf

from tierline_operator.kinds import WORKER_POOL
from tierline_operator.looping import AT_ONCE, Looper
from tierline_operator.metrics import Metrics
from tierline_operator.registry import _look_after
from tierline_operator.wakes import WakeKey, Wakes


def looper():
    return Looper(Wakes(), Metrics(), 60)


def key(name="chat"):
    return WakeKey("WorkerPool", "demo", str(name))


async def test_so_many_looks_of_a_kind_are_under_way_and_the_first_come_first():
    it, begun, go, others, all_begun = looper(), [], asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def look(at):
        begun.append(at)
        if len(begun) == AT_ONCE + 3:
            all_begun.set()
        await go.wait()

    async def other():
        others.set()

    for at in range(AT_ONCE + 3):
        it.begin(key(at), lambda at=at: look(at))
    it.begin(WakeKey("Planning", "", ""), other)
    await asyncio.wait_for(others.wait(), 5)
    assert begun == list(range(AT_ONCE))
    go.set()
    await asyncio.wait_for(all_begun.wait(), 5)
    assert begun == list(range(AT_ONCE + 3))
    await it.close()


async def test_an_object_is_looked_at_by_one_look_at_a_time_however_often_it_is_begun():
    wakes = Wakes()
    it, under_way, most, done, count = Looper(wakes, Metrics(), 60), 0, 0, asyncio.Event(), itertools.count(1)

    async def look():
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        wakes.wake(key())
        it.begin(key(), look)
        await asyncio.sleep(0)
        under_way -= 1
        if next(count) == 3:
            done.set()

    it.begin(key(), look)
    await asyncio.wait_for(done.wait(), 5)
    assert most == 1
    await it.close()


async def test_an_end_cancels_the_look_and_waits_for_it():
    it, begun, ended = looper(), asyncio.Event(), []

    async def look():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    it.begin(key(), look)
    await asyncio.wait_for(begun.wait(), 5)
    await it.end(key())
    assert ended == [True]
    await it.end(key())


async def test_nothing_begins_after_the_close():
    it, looked = looper(), []

    async def look():
        looked.append(True)

    await it.close()
    it.begin(key(), look)
    await asyncio.sleep(0)
    assert looked == []


async def test_the_end_of_a_former_object_does_not_end_the_looks_at_its_successor():
    registry, it, looks = kopf.OperatorRegistry(), looper(), []

    async def look(_namespace, name):
        looks.append(name)

    _look_after(registry, it, WORKER_POOL, {"WorkerPool": look})
    (told,) = registry._watching._handlers
    (let_go,) = registry._changing._handlers

    async def tell(kind, uid, **metadata):
        await told.fn(event={"type": kind, "object": {"metadata": metadata}}, namespace="demo", name="chat", uid=uid)

    await tell("ADDED", "first")
    await tell("ADDED", "second")
    await tell("DELETED", "first")
    await let_go.fn(namespace="demo", name="chat", uid="first")
    await asyncio.sleep(0)
    assert looks == ["chat"]
    await let_go.fn(namespace="demo", name="chat", uid="second")
    await tell("MODIFIED", "second", deletionTimestamp="now")
    await asyncio.sleep(0)
    assert looks == ["chat"], "one that is being deleted is not looked at again"
    assert it._cares == {}
