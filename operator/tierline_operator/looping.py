"""Who looks after which object, and when: woken by hints, by time, and again sooner or later after errors.

An object that rests costs an entry and a timer. A task is there only while it is looked at, and of a kind's objects at
most `AT_ONCE` are looked at together, in the order in which they were woken: a start with thousands of them leaves room
for everything else, and in a storm the first is done first. Two looks at one object never overlap.

    begin, rouse -> queued -> looking -> quiet pause -> queued again if woken meanwhile, else waiting for a call or time
"""

import asyncio
import logging
import random
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any

from tierline_operator.cluster import ApiError
from tierline_operator.feed import TRANSIENT
from tierline_operator.metrics import Metrics
from tierline_operator.wakes import WakeKey, Wakes

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 10.0
AT_ONCE = 16
"""Looks at objects of one kind that are under way together: twice what the API server is asked at once."""
CANCELLATION_SECONDS = 5.0
QUIET_SECONDS = 0.1
"""Pause between two looks at one object, in which a burst of events becomes one look."""

Look = Callable[[], Awaitable[float | None]]


class Refused(Exception):
    """A look did what it could, but the API server refused a write: asking again is for later, not for now.

    `due` is when time alone changes the plan, in seconds, as a look returns it.
    """

    def __init__(self, message: str, due: float | None = None) -> None:
        super().__init__(message)
        self.due = due


class NotYet(Exception):
    """The object is not there yet, or not whole: whatever is told of it next is looked at without a pause."""


class _State(Enum):
    QUEUED = auto()
    LOOKING = auto()
    PAUSING = auto()
    WAITING = auto()


@dataclass(slots=True)
class _Care:
    """One object that is looked after. `woken` says that something was told of it since its last look began."""

    look: Look
    state: _State = _State.QUEUED
    woken: bool = False
    failures: int = 0
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None


class Looper:
    """Looks after objects from `begin` to `end`."""

    def __init__(self, wakes: Wakes, metrics: Metrics, resync_seconds: float) -> None:
        self._wakes = wakes
        self._metrics = metrics
        self._resync_seconds = resync_seconds
        self._cares: dict[WakeKey, _Care] = {}
        self._queues: dict[str, deque[tuple[WakeKey, _Care]]] = defaultdict(deque)
        self._looking: Counter[str] = Counter()
        self._closed = False

    def begin(self, key: WakeKey, look: Look) -> None:
        """Look soon, then after every wake-up call; `look` returns when to come back, at latest.

        Nothing happens where the object is looked after already, or once everything has ended.
        """
        if self._closed or key in self._cares:
            return
        care = self._cares[key] = _Care(look)
        self._wakes.register(key, partial(self._rouse, key, care))
        self._queue(key, care)

    async def end(self, key: WakeKey) -> None:
        """Look no more: a look that is under way is cancelled, and over (or given up) on return."""
        care = self._cares.pop(key, None)
        if care is None:
            return
        self._wakes.unregister(key)
        if care.timer is not None:
            care.timer.cancel()
        if care.task is not None:
            care.task.cancel()
            await asyncio.wait({care.task}, timeout=CANCELLATION_SECONDS)

    async def look_after(self, key: WakeKey, look: Look) -> None:
        """Look after an object until cancelled."""
        self.begin(key, look)
        try:
            await asyncio.Event().wait()
        finally:
            await self.end(key)

    async def close(self) -> None:
        """End everything, for good."""
        self._closed = True
        await asyncio.gather(*(self.end(key) for key in tuple(self._cares)))

    def _rouse(self, key: WakeKey, care: _Care) -> None:
        care.woken = True
        if care.state is _State.WAITING:
            self._queue(key, care)

    def _queue(self, key: WakeKey, care: _Care) -> None:
        if care.timer is not None:
            care.timer.cancel()
        care.state = _State.QUEUED
        self._queues[key.kind].append((key, care))
        self._start(key.kind)

    def _start(self, kind: str) -> None:
        queue = self._queues[kind]
        while queue and self._looking[kind] < AT_ONCE:
            key, care = queue.popleft()
            if self._cares.get(key) is care:
                self._looking[kind] += 1
                care.state, care.woken = _State.LOOKING, False
                care.task = asyncio.create_task(self._turn(key, care))

    async def _turn(self, key: WakeKey, care: _Care) -> None:
        pause, due = QUIET_SECONDS, None
        try:
            due, care.failures = await self._look(key, care.look, care.failures)
            if care.failures:
                # Our own writes wake us too: a look that failed would follow itself without a pause.
                care.woken = False
        except NotYet:
            pause = 0.0
        finally:
            care.task = None
            self._looking[key.kind] -= 1
            self._start(key.kind)
        if self._cares.get(key) is care:
            care.state = _State.PAUSING
            self._later(care, pause, self._rest, key, care, self._patience(due, care.failures))

    def _rest(self, key: WakeKey, care: _Care, patience: float) -> None:
        if care.woken:
            self._queue(key, care)
        else:
            care.state = _State.WAITING
            self._later(care, patience, self._queue, key, care)

    def _later(self, care: _Care, seconds: float, act: Callable[..., None], *about: Any) -> None:
        care.timer = asyncio.get_running_loop().call_later(seconds, act, *about)

    async def _look(self, key: WakeKey, look: Look, failures: int) -> tuple[float | None, int]:
        started = time.monotonic()
        self._metrics.reconciles.labels(key.kind).inc()
        try:
            return await look(), 0
        except NotYet:
            raise
        except Refused as error:
            self._metrics.errors.labels(key.kind).inc()
            log.debug("%s %s: %s", key.kind, key.name, error)
            return error.due, failures + 1
        except TRANSIENT as error:
            self._metrics.errors.labels(key.kind).inc()
            stale = isinstance(error, ApiError) and error.status == 409
            log.log(logging.DEBUG if stale else logging.WARNING, "%s %s: %s", key.kind, key.name, _told(error))
        except Exception:
            self._metrics.errors.labels(key.kind).inc()
            log.exception("%s %s/%s could not be reconciled", key.kind, key.namespace, key.name)
        finally:
            self._metrics.seconds.labels(key.kind).observe(time.monotonic() - started)
        return None, failures + 1

    def _patience(self, due: float | None, failures: int) -> float:
        if failures:
            longest = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(failures, 16))
            patience = random.uniform(longest / 2, longest)  # noqa: S311 - jitter
        else:
            patience = random.uniform(0.8, 1.2) * self._resync_seconds  # noqa: S311 - jitter
        return patience if due is None else min(due, patience)


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
