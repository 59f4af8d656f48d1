"""Three gateways and a store that loses requests, replies and its memory: what was served is counted once."""

from collections.abc import Coroutine

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from memory_store import MemoryStore

from tierline.scheduling.admission.kv_share import KVShares
from tierline.scheduling.queueing.service_counters import ServiceCounters
from tierline.scheduling.routing.reservations import Reservations
from tierline_gateway.shared.quota_demand import QuotaDemand
from tierline_gateway.shared.sharing import DEGRADE_AFTER_S, StateSharing

TENANTS = ("acme", "zeta")
GATEWAYS = 3


def run(exchange: Coroutine[None, None, None]) -> None:
    """Run what never waits, as a store in memory does not; an event loop for each would be most of the time."""
    try:
        exchange.send(None)
    except StopIteration:
        return
    raise AssertionError("the exchange waits")


class SharingMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0.0
        self.store = MemoryStore()
        self.counters = [ServiceCounters() for _ in range(GATEWAYS)]
        self.sharing = [
            StateSharing(
                *(self.store, f"g{at}", counters, QuotaDemand()),
                kv_shares=KVShares(Reservations(lambda _: 0)),
                clock_ms=lambda: self.now_ms,
            )
            for at, counters in enumerate(self.counters)
        ]
        self.served = dict.fromkeys(TENANTS, 0.0)
        self.unsure = 0.0
        self.unreported = [0.0] * GATEWAYS
        self.memories_lost = 0

    @rule(at=st.integers(0, GATEWAYS - 1), tenant=st.sampled_from(TENANTS), tokens=st.integers(1, 100))
    def serve(self, at: int, tenant: str, tokens: int) -> None:
        self.counters[at].charge(tenant, float(tokens))
        self.served[tenant] += tokens
        self.unreported[at] += tokens

    @rule(at=st.integers(0, GATEWAYS - 1), fault=st.sampled_from(["", "", "request", "reply"]), late=st.booleans())
    def exchange(self, at: int, fault: str, late: bool) -> None:
        self.now_ms += DEGRADE_AFTER_S * 1000 if late else 50.0
        self.store.lose_request, self.store.lose_reply = fault == "request", fault == "reply"
        run(self.sharing[at].exchange())
        self.store.lose_request = self.store.lose_reply = False
        self.unsure += self.unreported[at] if fault == "reply" else 0.0
        self.unreported[at] = 0.0 if not fault else self.unreported[at]

    @precondition(lambda self: self.memories_lost < 2)
    @rule()
    def lose_memory(self) -> None:
        self.store.lose_memory()
        self.memories_lost += 1

    def teardown(self) -> None:
        # A memory that was lost is noticed by a first exchange and mended by a second.
        for _ in range(2):
            for sharing in self.sharing:
                run(sharing.exchange())
        assert not any(sharing.problem for sharing in self.sharing)
        for tenant, served in self.served.items():
            counted = self.store.counters.get(tenant, 0.0)
            assert counted >= max(counters.of(tenant) for counters in self.counters)
            if not self.memories_lost:
                assert counted == served
            # A reply that was lost with the memory behind it may have counted: no more than that counts twice.
            assert counted <= served + self.unsure


TestSharing = SharingMachine.TestCase
