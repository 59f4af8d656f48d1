"""What was worked out of stored objects stays good as long as they are the very same objects.

Stores replace an object when news of it comes and never change one, so identity is enough, and costs nothing.
"""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Remembered(Generic[R]):
    """Results by key. What was not asked for between two calls of `turn` is forgotten."""

    def __init__(self) -> None:
        self._before: dict[Hashable, tuple[tuple[Any, ...], R]] = {}
        self._now: dict[Hashable, tuple[tuple[Any, ...], R]] = {}

    def of(self, key: Hashable, inputs: tuple[Any, ...], make: Callable[[], R]) -> R:
        """Return what was made of the same inputs before, or make it; an equal result is the last one itself."""
        held = self._now.get(key) or self._before.get(key)
        if held is None or not _same(held[0], inputs):
            made = make()
            held = (inputs, held[1] if held is not None and held[1] == made else made)
        self._now[key] = held
        return held[1]

    def turn(self) -> None:
        """Begin a new look."""
        self._before, self._now = self._now, {}


def _same(before: tuple[Any, ...], now: tuple[Any, ...]) -> bool:
    return len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True))
