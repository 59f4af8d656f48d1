"""How a request enters the queue: what it is in the queue's terms, by its tier, its tenant and what was learned."""

from collections.abc import Mapping

from tierline.api.policy import TenantPolicy, TierPolicy
from tierline.scheduling.admission.lengths import OutputLengthPredictor
from tierline.scheduling.queueing.queued import (
    DEFAULT_SERVICE_DIFFERENCE_TOKENS,
    UNLIMITED_DIFFERENCE_TOKENS,
    QueuedRequest,
)
from tierline.scheduling.routing.reservations import PEAK_SHARE

RESUME_PATIENCE_MS = 300_000.0
"""So long a stream that lost its worker waits for another one: its client already has a part of the answer."""


def queued_request(
    request_id: str,
    tier: TierPolicy,
    tenant: TenantPolicy,
    *,
    context_tokens: int,
    total_tokens: int,
    arrival_ms: float,
    now_ms: float,
    resumed: bool,
    shares_prompt: bool = False,
    user_priority: int = 0,
    cached_tokens: int = 0,
    lengths: OutputLengthPredictor,
    prefill_ms: float,
) -> QueuedRequest:
    """Return how a request waits; a stream that lost its worker is `resumed` and waits as long as it must.

    `prefill_ms` is what its prompt takes on an idle worker.
    """
    bound = tenant.max_service_difference_tokens or DEFAULT_SERVICE_DIFFERENCE_TOKENS
    by_service = tier.order == "Service"
    most_tokens = max(total_tokens - context_tokens, 1)
    return QueuedRequest(
        request_id=request_id,
        tenant=tenant.tenant,
        tier=tier.name,
        priority=tier.priority,
        context_tokens=context_tokens,
        total_tokens=total_tokens,
        arrival_ms=arrival_ms,
        deadline_ms=arrival_ms + tier.ttft_deadline_ms,
        expires_ms=now_ms + RESUME_PATIENCE_MS if resumed else arrival_ms + tier.max_queue_ms,
        expected_output_tokens=lengths.expected(tenant.tenant, tier.name, most_tokens),
        weight=tenant.weight,
        service_difference_tokens=bound if by_service else UNLIMITED_DIFFERENCE_TOKENS,
        resumed=resumed,
        shares_prompt=shares_prompt,
        user_priority=user_priority,
        quantum_tokens=tier.quantum_tokens if by_service and tier.locality == "Prefer" else 0,
        prefill_ms=prefill_ms,
        cached_tokens=min(cached_tokens, context_tokens - 1),
        tpot_budget_ms=tier.tpot_budget_ms,
        peak_tokens=context_tokens + lengths.quantile(tenant.tenant, tier.name, PEAK_SHARE, most_tokens),
        max_kv_cache_percent=tenant.max_kv_cache_percent,
    )


def lower_tier(tier: TierPolicy, tiers: Mapping[str, TierPolicy]) -> TierPolicy | None:
    """Return the tier that takes what `tier` turns away under overload, None when it has none."""
    return tiers.get(tier.degrade_to) if tier.overload == "Degrade" and tier.degrade_to else None
