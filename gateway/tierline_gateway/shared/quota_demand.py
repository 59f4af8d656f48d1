"""What tenants ask of this gateway, and the part of their quotas that it enforces."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from tierline.scheduling.admission.quota import QuotaLimits
from tierline.scheduling.admission.quota_shares import QuotaShare
from tierline_gateway.shared.spending import SharedSpending

FADING: Final = 0.97
"""What was asked counts less by this with each exchange; below `FORGOTTEN` it is forgotten."""
FORGOTTEN: Final = 0.01


class QuotaDemand:
    """Alone until `adopt` is told of others; pure state."""

    def __init__(self) -> None:
        self.spending = SharedSpending()
        self._asked: dict[str, float] = {}
        self._running: Counter[str] = Counter()
        self._shares: Mapping[str, QuotaShare] = {}
        self._share_of_others = QuotaShare()

    def ask(self, tenant: str, limits: QuotaLimits) -> QuotaLimits:
        """Note that the tenant asks for a request, whatever comes of it; returns the limits to measure it by."""
        self._asked[tenant] = self._asked.get(tenant, 0.0) + 1.0
        share = self._shares.get(tenant, self._share_of_others)
        return share.of(limits, self._running[tenant])

    def begin(self, tenant: str) -> None:
        self._running[tenant] += 1

    def end(self, tenant: str) -> None:
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]

    def asked(self) -> dict[str, float]:
        """Return what was asked lately, in requests."""
        return dict(self._asked)

    def running(self) -> dict[str, int]:
        return dict(self._running)

    def adopt(self, shares: Mapping[str, QuotaShare], share_of_others: QuotaShare) -> None:
        """Enforce these shares from now on, `share_of_others` of tenants that are not named."""
        self._shares, self._share_of_others = shares, share_of_others
        faded = ((tenant, asked * FADING) for tenant, asked in self._asked.items())
        self._asked = {tenant: asked for tenant, asked in faded if asked >= FORGOTTEN}
