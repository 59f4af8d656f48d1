"""Who asks, and on which tier: API key, tier header, and the id of the request."""

import re
import secrets
from collections.abc import Mapping

from tierline.api.names import HEADER_REQUEST_ID, HEADER_TIER
from tierline.api.policy import CompiledPolicy, ModelPolicy, TenantPolicy, TierPolicy
from tierline_gateway.front.api_errors import ApiError, invalid, model_not_found, unauthorized
from tierline_gateway.keys import HEADER_AUTHORIZATION, bearer_token
from tierline_gateway.policy_source import PolicySnapshot

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def tenant_of(snapshot: PolicySnapshot, headers: Mapping[str, str]) -> TenantPolicy:
    """Return the tenant whose key the Authorization header carries; raises `ApiError` 401."""
    key = bearer_token(headers.get(HEADER_AUTHORIZATION))
    if key is None:
        raise unauthorized("No API key: send the header 'Authorization: Bearer <key>'.")
    tenant = snapshot.policy.tenants.get(snapshot.keys.tenant_of(key) or "")
    if tenant is None:
        raise unauthorized("The API key in the header 'Authorization' is unknown; use a key of a TenantQuota.")
    return tenant


def model_of(policy: CompiledPolicy, name: str) -> ModelPolicy:
    """Return the model that `name` stands for; raises `ApiError` 404 that lists the models."""
    model = policy.models.get(name)
    if model is None:
        raise model_not_found(name, list(policy.models))
    return model


def tier_of(policy: CompiledPolicy, tenant: TenantPolicy, model: ModelPolicy, headers: Mapping[str, str]) -> TierPolicy:
    """Return the tier of the header, or the tenant's default; raises `ApiError` 400 or 403."""
    asked = headers.get(HEADER_TIER)
    name = asked or tenant.default_tier
    source = f"The header '{HEADER_TIER}' asks for tier" if asked else "The tenant's spec.defaultTierRef is"
    allowed = ", ".join(tenant.tiers) or "none"
    if name not in policy.tiers:
        message = f"{source} {name!r}, which does not exist; use one of the tenant's tierRefs: {allowed}."
        raise invalid(HEADER_TIER, message, "tier_not_found", "UnknownTier")
    if name not in tenant.tiers:
        message = f"{source} {name!r}, which the tenant may not use; its tierRefs are: {allowed}."
        raise ApiError(403, message, "TierNotAllowed", "permission_error", HEADER_TIER, "tier_not_allowed")
    if name not in model.tiers:
        served = ", ".join(model.tiers) or "none"
        message = f"{source} {name!r}, which model {model.served_name!r} does not serve; its tierRefs are: {served}."
        raise invalid(HEADER_TIER, message, "tier_not_served", "TierNotServed")
    return policy.tiers[name]


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return the client's own request id when it is a sound one, else a new one."""
    given = headers.get(HEADER_REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
