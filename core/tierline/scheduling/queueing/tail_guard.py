"""What lower tier priorities get whatever waits above them: the guardrail of the tail.

After `every` dispatches in which the lower priority that was served longest ago was passed over while a request of it
was late, that priority goes first for one dispatch. So

    the higher priorities keep at least every / (every + 1) of the dispatches;
    a lower priority with a late request that fits gets one of each (every + 1) * L dispatches,
        L being the number of lower priorities in which requests wait;
    a late request with `ahead` others before it in its own priority starts within (every + 1) * L * (ahead + 1)
        dispatches, if there is room for it in its turn.

Inputs: which lower priorities have late requests, and the priority of each dispatch. When not to use it: it counts
dispatches, not time, so it promises nothing while nothing is dispatched; a request for which there is no room in its
turn is passed, as no lower tier may keep room free against a higher one.
"""

from collections.abc import Iterable
from typing import Final

GUARD_EVERY: Final = 16


class TailGuard:
    """Remembers which priority was served when; pure state."""

    def __init__(self, every: int = GUARD_EVERY) -> None:
        self._every = every
        self._served: dict[int, int] = {}
        self._dispatches = 0
        self._passed = 0
        self._longest: int | None = None

    def turn(self, late: Iterable[int]) -> int | None:
        """Return the priority among `late`, those below the highest with late requests, whose turn it is, if any."""
        self._longest = min(late, key=lambda priority: (self._served.get(priority, 0), priority), default=None)
        return self._longest if self._passed >= self._every else None

    def dispatched(self, priority: int) -> None:
        """Note a dispatch."""
        self._dispatches += 1
        self._served[priority] = self._dispatches
        self._passed = 0 if priority == self._longest else self._passed + 1
