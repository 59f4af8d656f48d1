"""Who asks, and on which tier: API key, tier header, and the id of the request."""

import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Set

import msgspec

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


class Served(msgspec.Struct, frozen=True):
    """What a request's `model` stands for: a model, alone or with a LoRA adapter."""

    model: ModelPolicy
    adapter: str = ""


Adapters = Callable[[ModelPolicy], Set[str] | None]
"""The adapters that a model's workers serve, None while none is connected."""


def served_as(policy: CompiledPolicy, tenant: TenantPolicy, name: str, adapters: Adapters) -> Served:
    """Return what `name` stands for: a model, `model:adapter`, or, as in vLLM, an adapter's name alone.

    An adapter alone stands for the one model whose workers serve it. While no worker of a model is connected, what the
    tenant may use counts as served. Raises `ApiError`: 404 that lists what there is, 403 for an adapter that the tenant
    may not use.
    """
    if name in policy.models:
        return Served(policy.models[name])
    base, _, adapter = name.rpartition(":")
    model = policy.models.get(base) if base else _only_with(policy, tenant, adapter, adapters)
    if model is None or adapter not in _known(tenant, adapters(model)):
        raise model_not_found(name, [*policy.models, *usable_adapters(policy, tenant, adapters)])
    if adapter not in tenant.adapters:
        allowed = ", ".join(tenant.adapters) or "none"
        message = f"'model' asks for adapter {adapter!r}, which the tenant may not use; its adapterRefs are: {allowed}."
        raise ApiError(403, message, "AdapterNotAllowed", "permission_error", "model", "adapter_not_allowed")
    return Served(model, adapter)


def usable_adapters(policy: CompiledPolicy, tenant: TenantPolicy, adapters: Adapters) -> list[str]:
    """Return the adapters that workers serve and the tenant may use, in order, as it may name them: alone, with their
    model where several serve one of that name."""
    allowed = set(tenant.adapters)
    found = [(each, model) for model in policy.models.values() for each in allowed & set(adapters(model) or ())]
    served_by = Counter(adapter for adapter, _ in found)
    alone = {adapter for adapter, times in served_by.items() if times == 1} - set(policy.models)
    return sorted(each if each in alone else f"{model.served_name}:{each}" for each, model in found)


def _only_with(policy: CompiledPolicy, tenant: TenantPolicy, adapter: str, adapters: Adapters) -> ModelPolicy | None:
    """Return the only model that serves an adapter, None when none does or several do."""
    serving = [model for model in policy.models.values() if adapter in _known(tenant, adapters(model))]
    return serving[0] if len(serving) == 1 else None


def _known(tenant: TenantPolicy, served: Set[str] | None) -> Set[str]:
    return set(tenant.adapters) if served is None else served


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
