"""Few requests at a time, workers' first, and nobody waits for ever."""

import asyncio

import pytest

from tierline_operator.cluster import ApiError
from tierline_operator.lanes import FAIR_TURN, Lane, Lanes
from tierline_operator.together import first_refusal, together


async def served(lanes, *arrivals):
    """Return the names in the order of their turns, when all arrive while the only turn is taken."""
    order = []

    async def ask(lane, name):
        async with lanes.turn(lane):
            order.append(name)

    async with lanes.turn(Lane.WORDS):
        tasks = [asyncio.create_task(ask(lane, name)) for lane, name in arrivals]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return order


async def test_what_workers_wait_for_goes_first_and_each_lane_in_its_order():
    lanes = Lanes(at_once=1)
    arrivals = [(Lane.WORDS, "status"), (Lane.WORKERS, "pod 1"), (Lane.CHILDREN, "service"), (Lane.WORKERS, "pod 2")]
    assert await served(lanes, *arrivals) == ["pod 1", "pod 2", "service", "status"]


async def test_who_has_waited_longest_gets_every_fourth_turn():
    arrivals = [(Lane.WORDS, "status"), *((Lane.WORKERS, f"pod {number}") for number in range(10))]
    assert (await served(Lanes(at_once=1), *arrivals)).index("status") == FAIR_TURN - 1


async def test_no_more_than_so_many_are_under_way():
    lanes, under_way, most = Lanes(at_once=3), 0, 0

    async def ask():
        nonlocal under_way, most
        async with lanes.turn(Lane.CHILDREN):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    await asyncio.gather(*(ask() for _ in range(20)))
    assert most == 3


async def test_a_turn_is_not_lost_with_who_waited_for_it():
    lanes, got = Lanes(at_once=1), asyncio.Event()

    async def ask(done=None):
        async with lanes.turn(Lane.WORKERS):
            if done:
                done.set()

    async with lanes.turn(Lane.WORKERS):
        gone, given, waits = (asyncio.create_task(it) for it in (ask(), ask(), ask(got)))
        await asyncio.sleep(0)
        gone.cancel()
    given.cancel()
    await asyncio.wait_for(got.wait(), 5)
    await asyncio.gather(gone, given, waits, return_exceptions=True)


async def refused(status):
    raise ApiError(status, "", f"said {status}")


async def test_what_is_refused_keeps_nothing_back_and_the_first_word_counts():
    made = []

    async def write(name):
        made.append(name)

    said = await first_refusal([[refused(403), write("a")], [write("b")]])
    assert (said, made) == ("The API server refused a write: said 403", ["a", "b"])


async def test_another_error_ends_it_after_its_stage():
    made = []

    async def slow():
        await asyncio.sleep(0.01)
        made.append("slow")

    with pytest.raises(ApiError, match="said 500"):
        await first_refusal(iter([[refused(500), slow()]]))
    assert made == ["slow"], "nothing is left under way"


async def test_together_raises_the_first_error_when_all_are_done():
    with pytest.raises(ApiError, match="said 409"):
        await together(asyncio.sleep(0), refused(409))
