"""Writes the status of objects and the Events that go with it, not more often than somebody could read them."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tierline.fleet.observed import Manifest, ObjectIdentity
from tierline.fleet.verdicts import Verdict, notices_of
from tierline_operator.actuator import Actuator

STATUS_SECONDS = 0.5
"""While workers start, a pool changes several times a second, and each write is an event for everybody who watches."""


class Teller:
    """Tells at once after a while of silence about an object, and then once in `seconds`."""

    def __init__(self, actuator: Actuator, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._actuator = actuator
        self._seconds = seconds
        self._clock = clock
        self._told_at: dict[str, float] = {}

    async def tell(
        self,
        owner: ObjectIdentity,
        live: Manifest,
        status: Mapping[str, Any],
        verdicts: Sequence[Verdict],
        at_once: bool = False,
    ) -> float | None:
        """Write a status that has changed, or return how long to wait with it."""
        if live.get("status") == status:
            return None
        left = 0.0 if at_once else self._left(owner.uid)
        if left > 0:
            return left
        self.told(owner.uid)
        await self._actuator.write_status(owner, live, status, ends_look=True)
        for notice in notices_of(owner, verdicts):
            await self._actuator.post_event(owner, notice)
        return None

    def told(self, uid: str) -> None:
        """Note that the object's status is written now."""
        self._told_at.pop(uid, None)
        self._told_at[uid] = self._clock()

    def _left(self, uid: str) -> float:
        now = self._clock()
        # The oldest are at the front: what is no longer of interest is forgotten from there.
        while self._told_at and now - next(iter(self._told_at.values())) >= self._seconds:
            self._told_at.pop(next(iter(self._told_at)))
        return self._told_at[uid] + self._seconds - now if uid in self._told_at else 0.0
