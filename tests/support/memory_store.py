"""The pod's own store with the faults that a store has: lost requests, lost replies, lost memory."""

from tierline_gateway.shared.local_store import LocalStore
from tierline_gateway.shared.store import Exchange, Shared, StoreUnavailable


class MemoryStore:
    """`lose_request` and `lose_reply` say what becomes of the next exchanges."""

    def __init__(self) -> None:
        self.lose_request = self.lose_reply = False
        self._lives = 0
        self.lose_memory()

    @property
    def counters(self) -> dict[str, float]:
        return self._store.counters

    def lose_memory(self) -> None:
        self._lives += 1
        self._store = LocalStore(str(self._lives), lambda: 0.0)

    async def exchange(self, exchange: Exchange) -> Shared:
        if self.lose_request:
            raise StoreUnavailable("the request was lost")
        shared = self._store.merge(exchange)
        if self.lose_reply:
            raise StoreUnavailable("the reply was lost")
        return shared

    async def close(self) -> None:
        pass
