"""Who asks, and on which tier: API key, tier header, and the id of the request."""

import re
import secrets
from collections.abc import Mapping, Set
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Served:
    """What a request's `model` stands for: a model, alone or with a LoRA adapter."""

    model: ModelPolicy
    adapter: str = ""


def served_as(policy: CompiledPolicy, tenant: TenantPolicy, name: str, adapters: Set[str] | None) -> Served:
    """Return what `name` stands for: a model, `model:adapter`, or, as in vLLM, an adapter's name alone.

    `adapters` are those that workers serve, None while no worker is connected; then what the tenant may use counts as
    served. Raises `ApiError`: 404 that lists what there is, 403 for an adapter that the tenant may not use.
    """
    if name in policy.models:
        return Served(policy.models[name])
    base, _, adapter = name.rpartition(":")
    # A gateway serves one fleet; with several models an adapter's name alone would be ambiguous.
    model = policy.models.get(base) if base else _only(policy.models)
    known = set(tenant.adapters) if adapters is None else adapters
    if model is None or adapter not in known:
        raise model_not_found(name, [*policy.models, *usable_adapters(policy, tenant, adapters)])
    if adapter not in tenant.adapters:
        allowed = ", ".join(tenant.adapters) or "none"
        message = f"'model' asks for adapter {adapter!r}, which the tenant may not use; its adapterRefs are: {allowed}."
        raise ApiError(403, message, "AdapterNotAllowed", "permission_error", "model", "adapter_not_allowed")
    return Served(model, adapter)


def usable_adapters(policy: CompiledPolicy, tenant: TenantPolicy, adapters: Set[str] | None) -> list[str]:
    """Return the adapters that the tenant may name alone and that workers serve, in order."""
    alone = set(tenant.adapters) - set(policy.models) if _only(policy.models) else set[str]()
    return sorted(alone & (adapters or set()))


def _only(models: Mapping[str, ModelPolicy]) -> ModelPolicy | None:
    return next(iter(models.values())) if len(models) == 1 else None


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
