"""One gateway's money and its exchange, without the gateway."""

from tierline.api.token_prices import TokenPrice
from tierline.scheduling.admission.kv_share import KVShares
from tierline.scheduling.admission.quota import Ask, QuotaLimits, TenantUsage
from tierline.scheduling.queueing.service_counters import ServiceCounters
from tierline.scheduling.routing.reservations import Reservations
from tierline_gateway.shared.quota_demand import QuotaDemand
from tierline_gateway.shared.sharing import StateSharing
from tierline_gateway.shared.store import SharedStore

ASK = Ask(0, 100_000, TokenPrice(0, 1))
"""A tenth of a cent."""


class SpendingGateway:
    def __init__(self, store: SharedStore, name: str, cents: int) -> None:
        self.now_ms = 1.8e12
        demand = QuotaDemand()
        shares = KVShares(Reservations(lambda _: 0))
        self.sharing = StateSharing(
            *(store, name, ServiceCounters(), demand), kv_shares=shares, clock_ms=lambda: self.now_ms
        )
        self.usage = TenantUsage(QuotaLimits(cents_per_day=cents))
        demand.spending.track("acme", self.usage.spending)

    def admit(self) -> bool:
        if self.usage.breach(ASK, self.now_ms):
            return False
        self.usage.begin(ASK, self.now_ms)
        return True

    def settle(self) -> None:
        if self.usage.concurrent:
            self.usage.billed(ASK.most_microcents, self.now_ms)
            self.usage.end(ASK, self.now_ms)
