"""What the demo's three tenants send: published conversation lengths, scaled to a 135M model on two cores.

To that come a few long answers shortly before the middle, so that the reclaim meets streams that outlast its notice.
"""

from collections.abc import Mapping

from tierline.sim.presets import AZURE_CONVERSATION, LMSYS_CHAT, TrafficPreset
from tierline.sim.workload import PlannedRequest, TenantTraffic, plan_workload
from tierline_cli.demo.examples import Examples

REQUESTS_PER_SECOND = 1.25
_LAST_ARRIVAL_SHARE = 0.85
_MIN_OUTPUT_TOKENS = 12
_SHARES: tuple[tuple[float, TrafficPreset, float, float], ...] = (
    (0.45, LMSYS_CHAT, 0.25, 0.08),
    (0.33, AZURE_CONVERSATION, 0.05, 0.15),
    (0.22, AZURE_CONVERSATION, 0.06, 0.25),
)
"""Per tier, most urgent first: share of the requests, lengths, scale of prompts, scale of outputs."""

LONG_ANSWERS = 3
LONG_ANSWER_TOKENS = 400
LONG_ANSWERS_AT = 0.3
"""Share of the run at which the least urgent tenant asks for its long answers."""


def demo_workload(examples: Examples, seconds: float, seed: int) -> tuple[PlannedRequest, ...]:
    """Return the requests of a run that is to last about `seconds` seconds, the last answers included."""
    tenants = _tenant_by_tier(examples)
    sources = [
        TenantTraffic(
            tenant=tenants[tier.name],
            tier=tier.name,
            requests_per_second=REQUESTS_PER_SECOND * share,
            preset=preset,
            prompt_scale=prompt_scale,
            output_scale=output_scale,
            min_output_tokens=_MIN_OUTPUT_TOKENS,
        )
        for tier, (share, preset, prompt_scale, output_scale) in zip(examples.tiers, _SHARES, strict=False)
    ]
    planned = plan_workload(sources, seconds * _LAST_ARRIVAL_SHARE, seed)
    last = examples.tiers[-1].name
    return tuple(sorted((*planned, *_long_answers(tenants[last], last, seconds)), key=lambda request: request.at_ms))


def _long_answers(tenant: str, tier: str, seconds: float) -> list[PlannedRequest]:
    at_ms = LONG_ANSWERS_AT * seconds * 1000
    return [PlannedRequest(at_ms, tenant, tier, 60, LONG_ANSWER_TOKENS) for _ in range(LONG_ANSWERS)]


def _tenant_by_tier(examples: Examples) -> Mapping[str, str]:
    return {tenant.default_tier: tenant.tenant for tenant in examples.policy.tenants.values()}
