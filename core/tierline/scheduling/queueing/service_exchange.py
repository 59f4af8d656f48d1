"""What several gateways gave their tenants, merged: the rules of the exchange of service counters, in memory.

    merged counter of t = change_n(... change_1(0))   in the order in which the gateways' reports come
    t waits elsewhere   = it waits in the last report of another gateway that is not older than `LOST_AFTER_MS`

Inputs: each gateway's report (`ServiceCounters.begin_exchange`) and the time. Bounds: the merged counter of a tenant is
exact for what was reported; what a gateway gave since its last report is missing, so two tenants that always wait, one
at each gateway, drift apart by at most the queue's own bound and what the gateways give between two exchanges. A
gateway that goes away takes along only what it had not reported, and holds nobody back for longer than `LOST_AFTER_MS`.
It serves the simulator, the tests, and as the model of a store that gateways in different processes reach; it keeps
every tenant, while such a store may drop a counter once it is below the lowest one that waits.
"""

from collections.abc import Mapping
from typing import Final

from tierline.scheduling.queueing.service_counters import PeerService, TenantReport

LOST_AFTER_MS: Final = 2000.0


class SharedService:
    """Merged counters, and who waits at which gateway."""

    def __init__(self) -> None:
        self._counters: dict[str, float] = {}
        self._waiting: dict[str, tuple[float, Mapping[str, tuple[int, ...]]]] = {}

    def merge(self, gateway: str, report: Mapping[str, TenantReport], now_ms: float) -> dict[str, PeerService]:
        """Take a gateway's report; return what it must know of the tenants in it and those that wait elsewhere."""
        for tenant, news in report.items():
            self._counters[tenant] = news.change.on(self._counters.get(tenant, 0.0))
        self._waiting[gateway] = (now_ms, {tenant: news.waiting for tenant, news in report.items() if news.waiting})
        elsewhere = self._elsewhere(gateway, now_ms)
        return {
            tenant: PeerService(self._counters[tenant], tuple(sorted(elsewhere.get(tenant, ()))))
            for tenant in report.keys() | elsewhere.keys()
        }

    def _elsewhere(self, gateway: str, now_ms: float) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for other, (told_ms, waiting) in self._waiting.items():
            if other != gateway and now_ms - told_ms <= LOST_AFTER_MS:
                for tenant, priorities in waiting.items():
                    found.setdefault(tenant, set()).update(priorities)
        return found
