"""A tenant's share of the KV cache holds over all gateways, and in parts while they cannot hear each other."""

from memory_store import MemoryStore
from msgspec.structs import replace

from tierline.scheduling.admission.kv_share import KVShares
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.queueing.service_counters import ServiceCounters
from tierline.scheduling.routing.choice import WorkerView
from tierline.scheduling.routing.reservations import Reservation, Reservations
from tierline_gateway.shared.quota_demand import QuotaDemand
from tierline_gateway.shared.sharing import DEGRADE_AFTER_S, StateSharing

FLEET = WorkerView("w0", True, 4, 100, 16, 1600, 100)
"""Of its 1,600 tokens acme may hold a half."""


class Gateway:
    def __init__(self, store: MemoryStore, name: str) -> None:
        self.now_ms = 0.0
        self.running = Reservations(lambda _: 0)
        self.shares = KVShares(self.running)
        self.shares.observe([FLEET])
        self.sharing = StateSharing(
            *(store, name, ServiceCounters(), QuotaDemand()), kv_shares=self.shares, clock_ms=lambda: self.now_ms
        )

    def start(self, request_id: str, tokens: float) -> None:
        self.running.make(request_id, Reservation("w0", "acme", 10, 100.0, tokens))

    def may_start(self, tokens: float) -> bool:
        of_acme = QueuedRequest("r", "acme", "t", 10, 100, 1600, 0.0, 0.0, 1e9, max_kv_cache_percent=50)
        return not self.shares.capped(replace(of_acme, peak_tokens=tokens))


def exchange(*gateways: Gateway) -> None:
    for gateway in gateways * 2:
        try:
            gateway.sharing.exchange().send(None)
        except StopIteration:
            continue
        raise AssertionError("the exchange waits")


def test_what_runs_at_another_gateway_counts() -> None:
    store = MemoryStore()
    first, second = Gateway(store, "g1"), Gateway(store, "g2")
    first.start("a", 500.0)
    assert second.may_start(400.0), "it was not told yet"
    exchange(first, second)
    assert not second.may_start(400.0)
    assert second.may_start(300.0)
    first.running.release("a")
    exchange(first, second)
    assert second.may_start(400.0)


def test_each_enforces_its_part_while_the_store_is_silent() -> None:
    store = MemoryStore()
    first, second = Gateway(store, "g1"), Gateway(store, "g2")
    first.start("a", 100.0)
    second.start("b", 100.0)
    exchange(first, second)
    assert first.may_start(600.0)
    store.lose_request = True
    first.now_ms += 1000 * DEGRADE_AFTER_S
    exchange(first)
    assert first.may_start(300.0)
    assert not first.may_start(301.0), "a half of a half is 400"
    store.lose_request = False
    exchange(first)
    assert first.may_start(600.0)
