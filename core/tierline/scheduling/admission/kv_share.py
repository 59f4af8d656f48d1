"""What share of all workers' KV cache a tenant's running requests may hold: `limits.maxKVCachePercent`.

    capped:  held + peak(request) > percent * sum of the workers' tokens        held > 0

`held` are the reservations of the tenant's running requests (`reservations`). A tenant below its cap may start, one at
it waits until an answer of its own ends, and holds nobody else's line meanwhile. Without a running request it always
may, so that a cap that is too small for one request slows a tenant down and does not shut it out.

Inputs: workers' sizes, reservations. Bounds: none of its own. When not to use it: to guarantee a tenant memory, which
takes the caps of all the others.
"""

from collections.abc import Iterable

from tierline.scheduling.admission.quota import QuotaBreach, TenantUsage
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.routing.choice import WorkerView
from tierline.scheduling.routing.reservations import Reservations


class KVShares:
    """Tells which requests their own tenant's cap holds back."""

    def __init__(self, reservations: Reservations) -> None:
        self._reservations = reservations
        self._fleet_tokens = 0

    def observe(self, workers: Iterable[WorkerView]) -> None:
        """Note how much there is to be shared."""
        self._fleet_tokens = sum(worker.total_blocks * worker.block_tokens for worker in workers)

    def capped(self, queued: QueuedRequest) -> bool:
        """Whether a waiting request has to wait for an end of its own tenant's; a moved stream never has."""
        if queued.max_kv_cache_percent is None or queued.resumed or not self._fleet_tokens:
            return False
        held = self._reservations.of_tenant(queued.tenant)
        most = queued.max_kv_cache_percent / 100 * self._fleet_tokens
        return held.requests > 0 and held.tokens + queued.peak_tokens - queued.cached_tokens > most

    def breach(self, queued: QueuedRequest, usage: TenantUsage) -> QuotaBreach | None:
        """Return the breach to tell the client of a request that is capped, None when it is not."""
        if queued.max_kv_cache_percent is None or not self.capped(queued):
            return None
        return QuotaBreach("limits.maxKVCachePercent", queued.max_kv_cache_percent, usage.end_interval_ms)
