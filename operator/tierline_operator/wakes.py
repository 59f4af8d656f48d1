"""Who has to look again when something changes: events only wake, they never carry the truth."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WakeKey:
    """An object that a loop looks after."""

    kind: str
    namespace: str
    name: str


class Wakes:
    """Wake-up calls by object, to whoever looks after it."""

    def __init__(self) -> None:
        self._sleepers: dict[WakeKey, Callable[[], None]] = {}

    def register(self, key: WakeKey, rouse: Callable[[], None]) -> None:
        """Call `rouse` whenever the object is to be looked at, until `unregister`."""
        self._sleepers[key] = rouse

    def unregister(self, key: WakeKey) -> None:
        self._sleepers.pop(key, None)

    def wake(self, key: WakeKey) -> None:
        if key in self._sleepers:
            self._sleepers[key]()

    def wake_kind(self, kind: str, namespace: str | None = None) -> None:
        """Wake everything of a kind, in one namespace or in all."""
        for key, rouse in self._sleepers.items():
            if key.kind == kind and namespace in {None, key.namespace}:
                rouse()
