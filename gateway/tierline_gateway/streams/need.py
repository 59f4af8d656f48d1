"""What routing must know of a waiting request."""

from collections.abc import Iterable

from tierline.scheduling.queued import QueuedRequest
from tierline.scheduling.routing import Need
from tierline_gateway.streams.live import LiveRequest


def need_of(queued: QueuedRequest, live: LiveRequest, siblings: Iterable[LiveRequest]) -> Need:
    """Return the need of `live`; `siblings` are the other choices of its answer, near which its prompt is computed."""
    return Need(
        request_id=queued.request_id,
        context_tokens=queued.context_tokens,
        total_tokens=queued.total_tokens,
        expected_tokens=queued.context_tokens + queued.expected_output_tokens,
        tpot_budget_ms=live.tier.tpot_budget_ms,
        priority=queued.priority,
        adapter=live.adapter,
        near=frozenset(sibling.worker for sibling in siblings if sibling.worker is not None),
    )
