"""TenantQuota: who a tenant is, which tiers it may use, and what share and limits it has."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tierline.api.block import Block, Rule
from tierline.api.crd_shape import AGE, READY, REASON, Column, Shape
from tierline.api.fields import SAFE_INT_MAX, SECRET_KEY, Counter, Identifier, ListOf, ObjectName, Percent, Positive
from tierline.api.meta import Resource, Status

CacheSharing = Literal["Isolated", "Namespace"]


class ApiKeySecretRef(Block):
    """A key of a Secret in the quota's own namespace that holds one API key."""

    name: ObjectName = Field(description="name is the name of the Secret, in the same namespace.")
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=SECRET_KEY)] = Field(
        description="key is the entry of the Secret that holds the API key."
    )


class Limits(Block):
    """Hard limits; what is left out is unlimited."""

    tokens_per_minute: Annotated[int, Field(ge=1, le=SAFE_INT_MAX)] | None = Field(
        default=None, description="tokensPerMinute is the most prompt and output tokens, per minute."
    )
    requests_per_minute: Positive | None = Field(
        default=None, description="requestsPerMinute is the most requests, per minute."
    )
    max_concurrent_requests: Positive | None = Field(
        default=None, description="maxConcurrentRequests is the most requests that wait or run at one time."
    )
    max_kv_cache_percent: Percent | None = Field(
        default=None,
        alias="maxKVCachePercent",
        description="maxKVCachePercent is the most of the fleet's KV cache that its requests may hold, in percent.",
    )


class Budget(Block):
    """What the tenant may spend."""

    cents_per_day: Counter | None = Field(
        default=None,
        description="centsPerDay is the most that its requests may cost in any 24 hours, in cents per day.",
    )


class TenantQuotaSpec(Block):
    """The tenant as declared."""

    tenant: Identifier = Field(description="tenant is the tenant's id, the same in metrics, logs and bills.")
    billing_tier: Identifier = Field(
        default="standard", description="billingTier is the price list that the tenant's tokens are billed by."
    )
    weight: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="weight is the tenant's share of service relative to the other tenants; 1 by default."
    )
    tier_refs: Annotated[tuple[ObjectName, ...], Field(min_length=1, max_length=32), ListOf()] = Field(
        description="tierRefs are the names of the SLOTiers that the tenant may use."
    )
    default_tier_ref: ObjectName | None = Field(
        default=None, description="defaultTierRef is the SLOTier of requests that name none."
    )
    api_key_secret_refs: Annotated[
        tuple[ApiKeySecretRef, ...], Field(min_length=1, max_length=32), ListOf(("name", "key"))
    ] = Field(description="apiKeySecretRefs are the Secrets that hold the tenant's API keys.")
    limits: Limits | None = Field(default=None, description="limits are what the tenant may use at most.")
    max_service_difference_tokens: Annotated[int, Field(ge=1, le=SAFE_INT_MAX)] | None = Field(
        default=None,
        description="maxServiceDifferenceTokens is how far the tenant's weighted service may run ahead, in tokens.",
    )
    cache_sharing: CacheSharing = Field(
        default="Isolated",
        description="cacheSharing says who may reuse the tenant's cached prefixes: itself, or its whole namespace.",
    )
    budget: Budget | None = Field(default=None, description="budget is what the tenant may spend.")
    adapter_refs: Annotated[tuple[ObjectName, ...], Field(max_length=64), ListOf()] = Field(
        default=(), description="adapterRefs are the names of the LoRAAdapters that the tenant may use."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="defaultTierRef",
            message="must be one of tierRefs.",
            cel="!has(self.defaultTierRef) || self.defaultTierRef in self.tierRefs",
            holds=lambda it: it.default_tier_ref is None or it.default_tier_ref in it.tier_refs,
        ),
        Rule(
            field="defaultTierRef",
            message="is required when tierRefs names more than one tier.",
            cel="has(self.defaultTierRef) || size(self.tierRefs) == 1",
            holds=lambda it: it.default_tier_ref is not None or len(it.tier_refs) == 1,
        ),
    )

    @property
    def default_tier(self) -> str:
        """The tier of requests that name none."""
        return self.default_tier_ref or self.tier_refs[0]


class TenantQuotaStatus(Status):
    """What became of the quota."""


class TenantQuota(Resource):
    """TenantQuota declares a tenant: its keys, its tiers, its share of service and its limits."""

    kind_name: ClassVar[str] = "TenantQuota"
    shape: ClassVar[Shape] = Shape(
        plural="tenantquotas",
        short_names=("tq",),
        scope="Namespaced",
        columns=(
            Column("Tenant", ".spec.tenant"),
            Column("Weight", ".spec.weight", "integer"),
            Column("Tiers", ".spec.tierRefs"),
            Column("Default", ".spec.defaultTierRef", priority=1),
            Column("Tokens/min", ".spec.limits.tokensPerMinute", "integer", priority=1),
            READY,
            REASON,
            AGE,
        ),
    )
    spec: TenantQuotaSpec = Field(description="spec is the tenant as declared.")
    status: TenantQuotaStatus | None = Field(default=None, description="status is what became of the quota.")
