"""Who has to look again when something changes: events only wake, they never carry the truth."""

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WakeKey:
    """An object that a loop looks after."""

    kind: str
    namespace: str
    name: str


class Wakes:
    """Wake-up calls by object. Calls coalesce: a hundred of them before the loop looks are one."""

    def __init__(self) -> None:
        self._sleepers: dict[WakeKey, asyncio.Event] = {}

    def register(self, key: WakeKey) -> asyncio.Event:
        """Return the event that `wake(key)` sets; it is set already, so that the first look comes at once."""
        event = self._sleepers.setdefault(key, asyncio.Event())
        event.set()
        return event

    def unregister(self, key: WakeKey) -> None:
        self._sleepers.pop(key, None)

    def wake(self, key: WakeKey) -> None:
        if key in self._sleepers:
            self._sleepers[key].set()

    def wake_kind(self, kind: str, namespace: str | None = None) -> None:
        """Wake everything of a kind, in one namespace or in all."""
        for key, event in self._sleepers.items():
            if key.kind == kind and namespace in {None, key.namespace}:
                event.set()
