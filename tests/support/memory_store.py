"""The rules of the shared store in memory, with the faults that one has: lost requests, lost replies, lost memory."""

from collections.abc import Mapping

from tierline_gateway.shared.store import Exchange, Note, Shared, StoreUnavailable


class MemoryStore:
    """`lose_request` and `lose_reply` say what becomes of the next exchanges."""

    def __init__(self) -> None:
        self.lose_request = self.lose_reply = False
        self._life = 0
        self.lose_memory()

    def lose_memory(self) -> None:
        self._life += 1
        self.counters: dict[str, float] = {}
        self.notes: dict[str, Note] = {}
        self._numbers: dict[str, int] = {}

    async def exchange(self, exchange: Exchange) -> Shared:
        if self.lose_request:
            raise StoreUnavailable("the request was lost")
        born = str(self._life)
        if exchange.born in {"", born}:
            self._merge(exchange)
        if self.lose_reply:
            raise StoreUnavailable("the reply was lost")
        return Shared(
            born, self._told(exchange), {name: n for name, n in self.notes.items() if name != exchange.gateway}
        )

    async def close(self) -> None:
        pass

    def _merge(self, exchange: Exchange) -> None:
        if exchange.number > self._numbers.get(exchange.gateway, 0):
            for tenant, added, floor in exchange.changes:
                self.counters[tenant] = max(self.counters.get(tenant, 0.0) + added, floor)
            self._numbers[exchange.gateway] = exchange.number
        self.notes[exchange.gateway] = exchange.note

    def _told(self, exchange: Exchange) -> Mapping[str, float]:
        named = {tenant for tenant, _, _ in exchange.changes}
        named |= {tenant for note in self.notes.values() for tenant in note.waiting}
        return {tenant: self.counters.get(tenant, 0.0) for tenant in named}
