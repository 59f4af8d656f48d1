"""The loop that looks after one object: woken by hints, by time, and again sooner or later after errors."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from tierline_operator.cluster import ApiError
from tierline_operator.feed import TRANSIENT
from tierline_operator.metrics import Metrics
from tierline_operator.wakes import WakeKey, Wakes

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 10.0
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


class Looper:
    """Runs reconciliations of single objects for ever."""

    def __init__(self, wakes: Wakes, metrics: Metrics, resync_seconds: float) -> None:
        self._wakes = wakes
        self._metrics = metrics
        self._resync_seconds = resync_seconds

    async def look_after(self, key: WakeKey, look: Look) -> None:
        """Look at once, then after every wake-up call, until cancelled. `look` returns when to come back, at latest."""
        wake = self._wakes.register(key)
        failures = 0
        try:
            while True:
                wake.clear()
                try:
                    due, failures = await self._look(key, look, failures)
                except NotYet:
                    await _wait(wake, self._patience(None, failures))
                    continue
                if failures:
                    # Our own writes wake us too: a look that failed would follow itself without a pause.
                    wake.clear()
                await asyncio.sleep(QUIET_SECONDS)
                await _wait(wake, self._patience(due, failures))
        finally:
            self._wakes.unregister(key)

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


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return
