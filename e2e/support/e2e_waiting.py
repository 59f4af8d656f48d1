"""Waiting for conditions, and watching that nothing happens."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
HANGS_SECONDS = 60
"""For waits that bound nothing that Tierline promises: they find what never comes, on machines of any speed."""

_POLL_S = 0.1


async def eventually(look: Callable[[], Awaitable[T]], within_s: float, what: str) -> T:
    """Return the first true answer of `look`; fails with `what` and the last answer when none comes in time."""
    deadline = time.monotonic() + within_s
    while not (seen := await look()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}; last seen: {seen!r}"
        await asyncio.sleep(_POLL_S)
    return seen


async def consistently(look: Callable[[], Awaitable[T]], for_s: float, what: str) -> None:
    """Fail as soon as `look` gives another answer than at first."""
    first = await look()
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        await asyncio.sleep(_POLL_S)
        seen = await look()
        assert seen == first, f"{what} changed from {first!r} to {seen!r}"
