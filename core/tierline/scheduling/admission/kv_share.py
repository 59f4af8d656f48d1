"""What share of all workers' KV cache a tenant's running requests may hold: `limits.maxKVCachePercent`.

    capped:  held + elsewhere + peak(request) > percent * sum of the workers' tokens / parts        held + elsewhere > 0

`held` are the reservations of the tenant's running requests (`reservations`), `elsewhere` those that other gateways
told of theirs. While others cannot be heard, each gateway enforces its part, one of as many as there were. A tenant
below its cap may start, one at it waits until an answer of its own ends, and holds nobody else's line meanwhile.
Without a running request it always may, so that a cap that is too small for one request slows a tenant down and does
not shut it out.

Inputs: workers' sizes, reservations, what others hold. Bounds: gateways that start requests between two exchanges see
each other's afterwards: so much a cap may be exceeded. When not to use it: to guarantee a tenant memory, which
takes the caps of all the others.
"""

from collections.abc import Iterable, Mapping

from tierline.scheduling.admission.quota import QuotaBreach, TenantUsage
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.routing.choice import WorkerView
from tierline.scheduling.routing.reservations import Reservations


class KVShares:
    """Tells which requests their own tenant's cap holds back."""

    def __init__(self, reservations: Reservations) -> None:
        self._reservations = reservations
        self._fleet_tokens = 0
        self._elsewhere: Mapping[str, int] = {}
        self._parts = 1

    def held(self) -> dict[str, int]:
        """Return the tokens that tenants hold through this gateway."""
        return self._reservations.by_tenant()

    def hear(self, elsewhere: Mapping[str, int]) -> None:
        """Note the tokens that tenants hold through other gateways."""
        self._elsewhere, self._parts = elsewhere, 1

    def unheard(self, gateways: int) -> None:
        """Enforce one part of each cap: nobody knows what is held through the others of so many gateways."""
        self._elsewhere, self._parts = {}, gateways

    def observe(self, workers: Iterable[WorkerView]) -> None:
        """Note how much there is to be shared."""
        self._fleet_tokens = sum(worker.total_blocks * worker.block_tokens for worker in workers)

    def capped(self, queued: QueuedRequest) -> bool:
        """Whether a waiting request has to wait for an end of its own tenant's; a moved stream never has."""
        if queued.max_kv_cache_percent is None or queued.resumed or not self._fleet_tokens:
            return False
        held = self._reservations.of_tenant(queued.tenant).tokens + self._elsewhere.get(queued.tenant, 0)
        most = queued.max_kv_cache_percent / 100 * self._fleet_tokens / self._parts
        return held > 0 and held + queued.peak_tokens - queued.cached_tokens > most

    def breach(self, queued: QueuedRequest, usage: TenantUsage) -> QuotaBreach | None:
        """Return the breach to tell the client of a request that is capped, None when it is not."""
        if queued.max_kv_cache_percent is None or not self.capped(queued):
            return None
        return QuotaBreach("limits.maxKVCachePercent", queued.max_kv_cache_percent, usage.end_interval_ms)
