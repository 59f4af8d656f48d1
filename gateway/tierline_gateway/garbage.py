"""When the interpreter looks for garbage that reference counts do not free.

What a request leaves behind is freed by its counts; cycles are left by failures only. Python looks at its young objects
when there are so many more than before, then at the middle ones, seldom at all. A gateway remembers its last requests
(decisions, log, trace) and forgets as many as it takes in, so that there are hardly more: what is young then is all of
the last thousands of requests, and a look at it takes 60 ms in which every stream stands still, every few seconds. So
Python's own looks are switched off, and there are these:

    young   each `YOUNG_S`: what came since, which is a millisecond's work however many requests come
    all     when there are `GROWN_OBJECTS` more than after the last one, or `GROWN_AT_REST_OBJECTS` and no request

Bounds: some hundred MB of garbage may lie about, or some ten at rest. A look at all takes a tenth of a second. When not
to use it: in a process that makes cycles in the way of its work.
"""

import asyncio
import gc
from collections.abc import Callable
from typing import Final

YOUNG_S: Final = 0.05
GROWN_OBJECTS: Final = 2_000_000
GROWN_AT_REST_OBJECTS: Final = 100_000


class Garbage:
    """Looks for garbage in place of the interpreter, once it is made; `at_rest` says that nobody would wait."""

    def __init__(self, at_rest: Callable[[], bool]) -> None:
        self._at_rest = at_rest
        self._grown_objects = 0
        # What there is at the start of a process stays.
        gc.collect()
        gc.freeze()
        gc.disable()

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(YOUNG_S)
            self.look()

    def look(self) -> None:
        """Free what is garbage among the young objects, or among all of them if there are many more than before."""
        self._grown_objects += gc.get_count()[0]
        if self._grown_objects >= (GROWN_AT_REST_OBJECTS if self._at_rest() else GROWN_OBJECTS):
            gc.collect()
            self._grown_objects = 0
        else:
            gc.collect(0)
