"""Resources compiled into the one policy object that every loop obeys.

A request's deadline, its place in the queue and its tenant's share all come from here, so gateway, worker and
simulator never read a resource themselves. Compiling never fails: a reference that leads nowhere becomes a problem
and the rest of the policy stands.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tierline.api.decision_matrix import (
    BatchingMode,
    Objective,
    Overload,
    PreemptionGranularity,
    PreemptionSave,
    Speculation,
    SpotUse,
)
from tierline.api.problems import FieldProblem


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


@dataclass(frozen=True)
class SecretKeyRef:
    """Where one API key is kept: a key of a Secret."""

    namespace: str
    name: str
    key: str


@dataclass(frozen=True)
class TenantPolicy:
    """One tenant: its share, its tiers and its limits; None means no limit.

    `tiers` holds only tiers that exist; `default_tier` stays as declared, so that a refusal can name it.
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
    cache_sharing: str


@dataclass(frozen=True)
class ModelPolicy:
    """One served model and the fleet that serves it; `tiers` holds only tiers that exist."""

    fleet_namespace: str
    fleet: str
    served_name: str
    source: str
    tiers: tuple[str, ...]


@dataclass(frozen=True)
class CompiledPolicy:
    """Everything declared, by name: tiers, tenants by tenant id, models by served name, and what is wrong."""

    tiers: Mapping[str, TierPolicy]
    tenants: Mapping[str, TenantPolicy]
    models: Mapping[str, ModelPolicy]
    problems: tuple[FieldProblem, ...]
