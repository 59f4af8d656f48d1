"""Resources compiled into the one policy object that every loop obeys.

A request's deadline, its place in the queue and its tenant's share all come from here, so gateway, worker and
simulator never read a resource themselves. Compiling never fails: a reference that leads nowhere becomes a problem
and the rest of the policy stands.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tierline.api.decision_matrix import (
    DECISION_MATRIX,
    BatchingMode,
    Locality,
    Objective,
    Overload,
    PreemptionGranularity,
    PreemptionSave,
    ServiceOrder,
    Speculation,
    SpotUse,
)
from tierline.api.fleet import LLMFleet
from tierline.api.meta import Resource
from tierline.api.problems import FieldProblem
from tierline.api.quota import CacheSharing, Limits, TenantQuota
from tierline.api.tier import Admission, Fairness, Preemption, SLOTier
from tierline.api.tier_targets import attainment_percent, deadline_ms, tpot_budget_ms, ttft_deadline_ms
from tierline.api.token_prices import TokenPrice, by_billing_tier
from tierline.api.unpriced import unpriced_budgets

DEFAULT_QUANTUM_TOKENS = 8192


@dataclass(frozen=True)
class TierPolicy:
    """One tier with every default filled in; a higher `priority` is served first.

    `ttft_deadline_ms` and `tpot_budget_ms` are a request's own deadline and budget per token, always finite;
    `deadline_ms` is for the whole answer, None where the tier sets none.
    """

    name: str
    priority: int
    ttft_deadline_ms: int
    tpot_budget_ms: int
    deadline_ms: int | None
    attainment_percent: int
    overload: Overload
    max_queue_ms: int
    degrade_to: str | None
    preemptible: bool
    objective: Objective = "Throughput"
    granularity: PreemptionGranularity = "Request"
    save: PreemptionSave = "Auto"
    batching: BatchingMode = "Continuous"
    speculation: Speculation = "Never"
    spot: SpotUse = "Allow"
    locality: Locality = "Ignore"
    quantum_tokens: int = DEFAULT_QUANTUM_TOKENS
    order: ServiceOrder = "Service"


@dataclass(frozen=True)
class SecretKeyRef:
    """Where one API key is kept: a key of a Secret."""

    namespace: str
    name: str
    key: str


@dataclass(frozen=True)
class TenantPolicy:
    """One tenant: its share, its tiers and its limits; None means no limit.

    `tiers` holds only tiers that exist; `default_tier` stays as declared, so that a refusal can name it. `adapters` are
    the LoRA adapters it may use, whether some worker serves them or not.
    """

    namespace: str
    tenant: str
    billing_tier: str
    weight: int
    tiers: tuple[str, ...]
    default_tier: str
    api_key_refs: tuple[SecretKeyRef, ...]
    tokens_per_minute: int | None
    requests_per_minute: int | None
    max_concurrent_requests: int | None
    max_service_difference_tokens: int | None
    cache_sharing: CacheSharing
    adapters: tuple[str, ...] = ()
    max_kv_cache_percent: int | None = None
    cents_per_day: int | None = None

    @property
    def cache_namespace(self) -> str:
        """Requests that share cached prefixes have the same one; no tenant's id contains a slash."""
        return f"{self.namespace}/" if self.cache_sharing == "Namespace" else f"{self.namespace}/{self.tenant}"


@dataclass(frozen=True)
class ModelPolicy:
    """One served model and its fleet; `tiers` holds only tiers that exist, `prices` are by billing tier.
    `tool_call_format` Auto leaves it to the model's template how calls are written."""

    fleet_namespace: str
    fleet: str
    served_name: str
    source: str
    tiers: tuple[str, ...]
    tool_call_format: str = "Auto"
    prices: Mapping[str, TokenPrice] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class CompiledPolicy:
    """Everything declared, by name: tiers, tenants by tenant id, models by served name, and what is wrong."""

    tiers: Mapping[str, TierPolicy]
    tenants: Mapping[str, TenantPolicy]
    models: Mapping[str, ModelPolicy]
    problems: tuple[FieldProblem, ...]


def compile_policy(
    tiers: Iterable[SLOTier], quotas: Iterable[TenantQuota], fleets: Iterable[LLMFleet], own: str = ""
) -> CompiledPolicy:
    """Compile everything declared; references that lead nowhere and names taken twice become `problems`.

    `own` is the fleet whose gateway asks: no other one takes its model's name.
    """
    ordered = sorted(tiers, key=_identity)
    known = frozenset(tier.metadata.name for tier in ordered)
    problems: list[FieldProblem] = []
    tier_policies = {tier.metadata.name: _tier(tier, ordered, problems) for tier in ordered}
    tenants: dict[str, TenantPolicy] = {}
    for quota in (quotas := sorted(quotas, key=_identity)):
        _add_tenant(tenants, quota, known, problems)
    models: dict[str, ModelPolicy] = {}
    for fleet in sorted(fleets, key=lambda each: (each.metadata.name != own, _identity(each))):
        _add_model(models, fleet, known, problems)
    problems += unpriced_budgets(quotas, models.values()) if models else ()
    return CompiledPolicy(
        MappingProxyType(tier_policies), MappingProxyType(tenants), MappingProxyType(models), tuple(problems)
    )


def _identity(resource: Resource) -> tuple[str, str]:
    return resource.metadata.namespace, resource.metadata.name


def _title(resource: Resource) -> str:
    return f"{resource.kind_name} {'/'.join(part for part in _identity(resource) if part)}"


def _tier(tier: SLOTier, tiers: list[SLOTier], problems: list[FieldProblem]) -> TierPolicy:
    spec, row = tier.spec, DECISION_MATRIX[tier.spec.objective]
    admission, preemption = spec.admission or Admission(), spec.preemption or Preemption()
    fairness = spec.fairness or Fairness()
    degrade_to, problem = _degrade_target(tier, tiers)
    if problem:
        problems.append(problem)
    max_queue_ms = admission.max_queue_milliseconds
    return TierPolicy(
        name=tier.metadata.name,
        priority=spec.priority,
        ttft_deadline_ms=ttft_deadline_ms(spec),
        tpot_budget_ms=tpot_budget_ms(spec),
        deadline_ms=deadline_ms(spec),
        attainment_percent=attainment_percent(spec),
        overload="Reject" if problem else admission.overload or row.overload,
        max_queue_ms=row.max_queue_ms if max_queue_ms is None else max_queue_ms,
        degrade_to=degrade_to,
        preemptible=(preemption.preemptible or row.preemptible) == "Allow",
        objective=spec.objective,
        granularity=preemption.granularity or row.granularity,
        save=preemption.save or row.save,
        batching=(spec.batching.mode if spec.batching else None) or row.batching,
        speculation=spec.speculation or row.speculation,
        spot=spec.spot or row.spot,
        locality=fairness.locality or row.locality,
        quantum_tokens=fairness.quantum_tokens or DEFAULT_QUANTUM_TOKENS,
        order=fairness.order or row.order,
    )


def _degrade_target(tier: SLOTier, tiers: list[SLOTier]) -> tuple[str | None, FieldProblem | None]:
    """Return the tier that takes what `tier` turns away; none, and a problem, when there is no end to the chain."""
    target = _degrade_to_ref(tier)
    by_name = {other.metadata.name: other for other in tiers}
    if target is None:
        return None, None
    if target not in by_name:
        return None, _unknown_tier(tier, "spec.admission.degradeToRef", target)
    seen, step = {tier.metadata.name}, target
    while step not in seen:
        seen.add(step)
        following = _degrade_to_ref(by_name[step]) if step in by_name else None
        if following is None:
            return target, None
        step = following
    message = f"leads back to {step!r}: let one tier of the circle reject or defer"
    return None, FieldProblem("spec.admission.degradeToRef", message, _title(tier))


def _degrade_to_ref(tier: SLOTier) -> str | None:
    return tier.spec.admission.degrade_to_ref if tier.spec.admission else None


def _add_tenant(
    tenants: dict[str, TenantPolicy], quota: TenantQuota, known: frozenset[str], problems: list[FieldProblem]
) -> None:
    spec = quota.spec
    if spec.tenant in tenants:
        taken = f"{spec.tenant!r} is declared in namespace {tenants[spec.tenant].namespace!r} already: use another id"
        problems.append(FieldProblem("spec.tenant", taken, _title(quota)))
        return
    limits = spec.limits or Limits()
    namespace = quota.metadata.namespace
    tenants[spec.tenant] = TenantPolicy(
        namespace=namespace,
        tenant=spec.tenant,
        billing_tier=spec.billing_tier,
        weight=spec.weight,
        tiers=_known_tiers(quota, spec.tier_refs, known, problems),
        default_tier=spec.default_tier,
        api_key_refs=tuple(SecretKeyRef(namespace, ref.name, ref.key) for ref in spec.api_key_secret_refs),
        tokens_per_minute=limits.tokens_per_minute,
        requests_per_minute=limits.requests_per_minute,
        max_concurrent_requests=limits.max_concurrent_requests,
        max_service_difference_tokens=spec.max_service_difference_tokens,
        cache_sharing=spec.cache_sharing,
        adapters=spec.adapter_refs,
        max_kv_cache_percent=limits.max_kv_cache_percent,
        cents_per_day=spec.budget.cents_per_day if spec.budget else None,
    )


def _add_model(
    models: dict[str, ModelPolicy], fleet: LLMFleet, known: frozenset[str], problems: list[FieldProblem]
) -> None:
    if (name := fleet.served_name) in models:
        taken = f"{name!r} is served by fleet {models[name].fleet!r} already: use another name"
        problems.append(FieldProblem("spec.model.servedName", taken, _title(fleet)))
        return
    models[fleet.served_name] = ModelPolicy(
        fleet_namespace=fleet.metadata.namespace,
        fleet=fleet.metadata.name,
        served_name=fleet.served_name,
        source=fleet.spec.model.source,
        tool_call_format=fleet.spec.model.tool_call_format,
        tiers=_known_tiers(fleet, fleet.spec.tier_refs, known, problems),
        prices=by_billing_tier(fleet.spec.token_prices),
    )


def _known_tiers(
    resource: Resource, refs: tuple[str, ...], known: frozenset[str], problems: list[FieldProblem]
) -> tuple[str, ...]:
    for index, ref in enumerate(refs):
        if ref not in known:
            problems.append(_unknown_tier(resource, f"spec.tierRefs[{index}]", ref))
    return tuple(ref for ref in refs if ref in known)


def _unknown_tier(resource: Resource, path: str, name: str) -> FieldProblem:
    return FieldProblem(
        path, f"names SLOTier {name!r}, which does not exist: create it or change the name", _title(resource)
    )
