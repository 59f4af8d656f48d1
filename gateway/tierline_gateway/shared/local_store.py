"""The rules of the shared store in memory: for the processes of one pod, and what the script in Redis does."""

from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Final

from tierline.scheduling.admission.spending import HOURS
from tierline_gateway.shared.store import Exchange, Note, Shared, Spent

LOST_AFTER_S: Final = 2.0


class LocalStore:
    """Lives as long as who holds it; `born` names this life. A gateway not heard of for `LOST_AFTER_S` is gone."""

    def __init__(self, born: str, clock_s: Callable[[], float]) -> None:
        self.counters: dict[str, float] = {}
        self._born = born
        self._clock_s = clock_s
        self._notes: dict[str, tuple[float, Note]] = {}
        self._numbers: dict[str, int] = {}
        self._spent: dict[tuple[str, str, int], tuple[int, Spent]] = {}
        self._version = 0

    def merge(self, exchange: Exchange) -> Shared:
        """Apply a report once, however often it is sent, and return what is true now."""
        if exchange.born in {"", self._born}:
            self._apply(exchange)
        notes = {
            gateway: note
            for gateway, (heard_s, note) in self._notes.items()
            if gateway != exchange.gateway and self._clock_s() - heard_s < LOST_AFTER_S
        }
        spent = self._spent_since(exchange.spent_version, exchange.gateway)
        return Shared(self._born, self._told(exchange, notes), notes, spent, self._version)

    def _apply(self, exchange: Exchange) -> None:
        if exchange.number > self._numbers.get(exchange.gateway, 0):
            for tenant, added, floor in exchange.changes:
                self.counters[tenant] = max(self.counters.get(tenant, 0.0) + added, floor)
            self._numbers[exchange.gateway] = exchange.number
        self._notes[exchange.gateway] = (self._clock_s(), exchange.note)
        for row in exchange.spent:
            self._book(row)

    def _book(self, row: Spent) -> None:
        self._version += 1
        key = (row.gateway, row.tenant, row.hour)
        self._spent.pop(key, None)
        self._spent[key] = (self._version, row)
        while next(iter(self._spent))[2] < row.hour - HOURS:
            del self._spent[next(iter(self._spent))]

    def _spent_since(self, version: int, reader: str) -> tuple[Spent, ...]:
        news = takewhile(lambda booked: booked[0] > version, reversed(self._spent.values()))
        return tuple(row for _, row in news if row.gateway != reader)

    def _told(self, exchange: Exchange, notes: Mapping[str, Note]) -> Mapping[str, float]:
        named = {tenant for tenant, _, _ in exchange.changes}
        named |= {tenant for note in notes.values() for tenant in note.waiting}
        return {tenant: self.counters.get(tenant, 0.0) for tenant in named}
