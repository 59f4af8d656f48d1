"""Two gateways and a real Redis: a budget holds over both, and what one that ended has spent is not forgotten."""

from pathlib import Path

from redis_testing import RedisServer
from spending_gateway import SpendingGateway

from tierline_gateway.shared.redis_store import RedisStore


async def test_a_budget_holds_over_gateways_and_restarts(redis_server: RedisServer, tmp_path: Path) -> None:
    stores = [RedisStore(redis_server.url, f"demo/{tmp_path.name}") for _ in range(3)]
    first, second, successor = (SpendingGateway(store, f"g{at}", 1) for at, store in enumerate(stores))
    for _ in range(6):
        assert first.admit()
        first.settle()
    await first.sharing.exchange()
    await second.sharing.exchange()
    assert [second.admit() for _ in range(5)] == [True] * 4 + [False]
    second.settle()
    await second.sharing.exchange()
    await first.sharing.exchange()
    assert not first.admit()
    await successor.sharing.exchange()
    assert successor.usage.spent_microcents(successor.now_ms) == 1_000_000
    assert not successor.admit()
    for store in stores:
        await store.close()
