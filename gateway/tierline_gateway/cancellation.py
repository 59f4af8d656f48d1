"""Cancellations that libraries lose.

`asyncio.wait_for` of Python 3.11 returns a result that came together with the caller's cancellation, and forgets the
latter (bpo-37658; 3.12 does not). redis-py sends commands by it. Who then waits for the end of a task that he cancelled
waits for ever: the task works on.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def heeding(call: Awaitable[T]) -> T:
    """Return what `call` gives, or raise the cancellation that came meanwhile, even if `call` forgot it."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    before = task.cancelling()
    answer = await call
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return answer
