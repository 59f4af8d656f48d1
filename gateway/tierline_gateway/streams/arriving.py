"""A request at the door, as the desk judges it."""

from collections.abc import Callable

from tierline.api.policy import TierPolicy
from tierline.scheduling.admission.quota import TenantUsage
from tierline.scheduling.desk import Arriving, RequestDesk
from tierline.scheduling.entering import queued_request
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline_gateway.streams.live import LiveRequest
from tierline_gateway.workers.pool import LinkPool


def arriving(
    live: LiveRequest,
    usage: TenantUsage,
    queued: Callable[[LiveRequest], QueuedRequest],
    degraded: Callable[[LiveRequest], TierPolicy | None],
) -> Arriving:
    """Return what the desk must know of `live`; how it would wait is found once for each tier that it is lowered to."""
    by_tier: dict[str, QueuedRequest] = {}

    def waits() -> QueuedRequest:
        if live.tier.name not in by_tier:
            by_tier[live.tier.name] = queued(live)
        return by_tier[live.tier.name]

    return Arriving(live.ask, usage, lambda: live.tier, waits, lambda: degraded(live))


def queued_of(live: LiveRequest, desk: RequestDesk, links: LinkPool, now_ms: float) -> QueuedRequest:
    """Return how a request waits from now on."""
    cached_tokens = min(links.cached_tokens(live.prefix_keys), live.journal.context_tokens - 1)
    return queued_request(
        live.request_id,
        live.tier,
        live.tenant,
        context_tokens=live.journal.context_tokens,
        total_tokens=live.journal.total_tokens,
        arrival_ms=live.arrival_ms,
        now_ms=now_ms,
        resumed=bool(live.moves),
        shares_prompt=bool(live.fork_of),
        user_priority=live.generation.user_priority,
        cached_tokens=cached_tokens,
        lengths=desk.lengths,
        prefill_ms=links.fastest_alone_ms(live.journal.context_tokens - cached_tokens),
    )
