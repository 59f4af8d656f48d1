"""What a worker is told of a request that it starts or continues."""

from collections.abc import Iterable

from tierline.wire.frames import Submit
from tierline_gateway.streams.live import LiveRequest
from tierline_gateway.workers.link import WorkerLink


def submission(live: LiveRequest, link: WorkerLink, siblings: Iterable[LiveRequest], now_ms: float) -> Submit:
    """Return the frame for `link`; `siblings` are the answer's other choices, of which one may be there already."""
    waited_ms = now_ms - live.arrival_ms
    return live.journal.submit(
        link.window_tokens,
        tenant=live.tenant.tenant,
        tier=live.tier.name,
        priority=live.tier.priority,
        waited_ms=int(waited_ms),
        ttft_slack_ms=int(live.tier.ttft_deadline_ms - waited_ms),
        tpot_budget_ms=live.tier.tpot_budget_ms,
        preemptible=live.tier.preemptible,
        cache_namespace=live.tenant.cache_namespace,
        batching=live.tier.batching,
        granularity=live.tier.granularity,
        save=live.tier.save,
        speculate=live.tier.speculation == "Auto",
        fork_of=next((other.request_id for other in siblings if other.worker == link.name), ""),
        adapter=live.adapter,
    )
