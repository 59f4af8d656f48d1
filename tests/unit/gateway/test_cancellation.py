"""A cancellation is heeded, whatever a library makes of it."""

import asyncio

import pytest

from tierline_gateway.cancellation import heeding


async def test_a_cancellation_that_comes_with_the_answer_is_not_lost():
    answer = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(heeding(asyncio.wait_for(answer, 60)))
    await asyncio.sleep(0)
    answer.set_result("late")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_before_does_not_spoil_an_answer():
    async def works_on() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return await heeding(asyncio.sleep(0, "answer"))
        return "never cancelled"

    task = asyncio.create_task(works_on())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "answer"


async def test_errors_go_through():
    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await heeding(fails())
