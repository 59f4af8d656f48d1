"""When there is nothing to plan: nothing has changed since the last look, and nobody tells of traffic.

What time alone changes then (a silence that has lasted long enough to be said, a zone that is trusted again, a node
that has been idle for long enough to be emptied) is measured in half minutes and more: a look every `REST_MS` will do.
"""

from dataclasses import dataclass

from tierline_operator.capacity.scenes import Scene

REST_MS = 15_000


@dataclass(frozen=True, slots=True)
class Rest:
    """What the last look left: its scenes, the count of changes that it knew, why its source was silent.

    `quiet` says that no fleet told of its traffic.
    """

    scenes: tuple[Scene, ...] = ()
    changes: int = -1
    at_ms: int = 0
    why: str = ""
    quiet: bool = False

    def holds(self, changes: int, now_ms: int) -> bool:
        """Say whether the next look may be left out unless somebody tells of traffic."""
        return self.quiet and changes == self.changes and now_ms - self.at_ms < REST_MS
