"""The example resources, read from their files: what they promise, to whom, and under which keys."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tierline.api.fleet import LLMFleet
from tierline.api.parsing import parse
from tierline.api.policy import CompiledPolicy, SecretKeyRef, TierPolicy, compile_policy
from tierline.api.quota import TenantQuota
from tierline.api.tier import SLOTier
from tierline.telemetry.records import TenantShare, TierTarget
from tierline_cli.errors import CommandFailed


@dataclass(frozen=True, slots=True)
class Examples:
    """What the example files declare: one fleet, and for each tenant its default tier and its first API key."""

    policy: CompiledPolicy
    fleet: str
    model: str
    model_source: str
    api_keys: Mapping[str, str]

    @property
    def tiers(self) -> tuple[TierTarget, ...]:
        """The promises, most urgent first."""
        ranked = sorted(self.policy.tiers.values(), key=lambda tier: -tier.priority)
        return tuple(_target(tier) for tier in ranked)

    @property
    def tenants(self) -> tuple[TenantShare, ...]:
        return tuple(TenantShare(tenant.tenant, tenant.weight) for tenant in self.policy.tenants.values())


def load_examples(folder: Path, namespace: str) -> Examples:
    """Read all YAML files of `folder` as if applied to `namespace`; raises `CommandFailed` when they do not fit."""
    objects = [_placed(obj, namespace) for path in sorted(folder.glob("*.yaml")) for obj in _documents(path)]
    if not objects:
        raise CommandFailed(f"{folder} holds no YAML file; run from a checkout or give --sources")
    fleets = [parse(LLMFleet, obj) for obj in _of_kind(objects, "LLMFleet")]
    policy = compile_policy(
        [parse(SLOTier, obj) for obj in _of_kind(objects, "SLOTier")],
        [parse(TenantQuota, obj) for obj in _of_kind(objects, "TenantQuota")],
        fleets,
    )
    if policy.problems or len(fleets) != 1:
        raise CommandFailed(f"{folder}: {'; '.join(map(str, policy.problems)) or 'exactly one LLMFleet is expected'}")
    model = next(iter(policy.models.values()))
    secrets = {obj["metadata"]["name"]: obj for obj in _of_kind(objects, "Secret")}
    keys = {tenant.tenant: _api_key(secrets, tenant.api_key_refs) for tenant in policy.tenants.values()}
    return Examples(policy, model.fleet, model.served_name, model.source, keys)


def _documents(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as handle:
        return [document for document in yaml.safe_load_all(handle) if document]


def _placed(obj: dict[str, Any], namespace: str) -> dict[str, Any]:
    placed = {} if obj["kind"] == "SLOTier" else {"namespace": namespace}
    return {**obj, "metadata": {**placed, **obj["metadata"]}}


def _of_kind(objects: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [obj for obj in objects if obj["kind"] == kind]


def _target(tier: TierPolicy) -> TierTarget:
    return TierTarget(
        name=tier.name,
        ttft_ms=tier.ttft_deadline_ms,
        tpot_ms=tier.tpot_budget_ms,
        deadline_ms=tier.deadline_ms,
        attainment_percent=tier.attainment_percent,
        priority=tier.priority,
    )


def _api_key(secrets: Mapping[str, dict[str, Any]], refs: Sequence[SecretKeyRef]) -> str:
    for ref in refs:
        secret = secrets.get(ref.name, {})
        if ref.key in secret.get("stringData", {}):
            return str(secret["stringData"][ref.key])
        if ref.key in secret.get("data", {}):
            return base64.b64decode(secret["data"][ref.key]).decode()
    raise CommandFailed(f"no Secret among the examples holds an API key for {[ref.name for ref in refs]}")
