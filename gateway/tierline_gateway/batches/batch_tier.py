"""In which tier the lines of a batch run.

asked: the header x-tierline-tier, or that key of the batch's metadata
else:  the lowest of the tenant's tiers whose objective is Throughput or Cost, which wait and fill what others leave
else:  the tenant's default
"""

from collections.abc import Mapping

from tierline.api.names import HEADER_TIER
from tierline.api.policy import CompiledPolicy, TenantPolicy
from tierline_gateway.front.api_errors import unavailable
from tierline_gateway.front.identity import tier_of

_PATIENT = frozenset({"Throughput", "Cost"})


def batch_tier(
    policy: CompiledPolicy, tenant: TenantPolicy, headers: Mapping[str, str], metadata: Mapping[str, str]
) -> str:
    """Return the tier's name; raises `ApiError` when it was asked for and the tenant may not use it.

    Any model may serve it: lines name their models themselves, and one whose model does not is refused for that.
    """
    if not policy.models:
        raise unavailable("The gateway serves no model now; try again.", "NotReady")
    asked = headers.get(HEADER_TIER) or metadata.get(HEADER_TIER) or _patient(policy, tenant)
    models = policy.models.values()
    model = next((each for each in models if (asked or tenant.default_tier) in each.tiers), next(iter(models)))
    return tier_of(policy, tenant, model, {HEADER_TIER: asked} if asked else {}).name


def _patient(policy: CompiledPolicy, tenant: TenantPolicy) -> str:
    served = {name for model in policy.models.values() for name in model.tiers}
    usable = (policy.tiers[name] for name in tenant.tiers if name in policy.tiers and name in served)
    patient = [tier for tier in usable if tier.objective in _PATIENT]
    return min(patient, key=lambda tier: (tier.priority, tier.name)).name if patient else ""
