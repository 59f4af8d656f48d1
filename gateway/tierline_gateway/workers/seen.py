"""All workers as routing sees them at one moment, made once for all requests until something of a worker changes."""

from collections.abc import Iterable, Sequence

import msgspec

from tierline.scheduling.routing.choice import WorkerView


class SeenWorkers(msgspec.Struct, frozen=True):
    """The connected workers, those of them that accept, and the longest prompt and answer of either.

    Views change with their workers, which is told, and by silence, which nobody tells: they hold until `until_s`.
    """

    views: tuple[WorkerView, ...]
    accepting: tuple[WorkerView, ...]
    window_tokens: int
    accepting_window_tokens: int
    until_s: float

    @classmethod
    def of(cls, views: Iterable[WorkerView], until_s: float) -> "SeenWorkers":
        """Return what there is to say of these workers."""
        seen = tuple(views)
        accepting = tuple([view for view in seen if view.accepting])
        longest = _longest(seen)
        return cls(seen, accepting, longest, longest if len(accepting) == len(seen) else _longest(accepting), until_s)


def _longest(views: Sequence[WorkerView]) -> int:
    return max([view.window_tokens for view in views], default=0)
