"""For every cross-field rule, objects that keep it and objects that break it; run against CEL and against Python.

A case is a merge patch on the object that declares the rule (None removes a field), so one table serves all places
where a rule is used. Transition rules have a patch for the old object too.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from resource_samples import SAMPLES
from schema_cases import Path, Schema, at, dotted, fields, replaced, schema_of

Patch = dict[str, Any]
PREFILL, DECODE, UNIFIED = (
    {"name": role.lower(), "role": role, "replicas": {"min": 1, "max": 1}} for role in ("Prefill", "Decode", "Unified")
)
ROLE_LESS = {"name": "main", "replicas": {"min": 1, "max": 1}}

CASES: dict[str, tuple[list[Patch], list[Patch]]] = {
    "flood is required when kind is TenantFlood, and only then.": (
        [{}, {"kind": "WorkerKill", "flood": None}],
        [{"flood": None}, {"kind": "WorkerKill"}],
    ),
    "p50 must be given, or p95 or p99: declare at least one percentile.": (
        [{"p50": None, "p99": None}, {"p50": None}, {"p99": None}],
        [{"p50": None, "p95": None, "p99": None}],
    ),
    "p50 must not be greater than p95.": (
        [{"p50": 200}, {"p50": None, "p95": 5}],
        [{"p50": 201}],
    ),
    "p95 must not be greater than p99.": (
        [{"p95": 300}, {"p95": 5000, "p50": 5000, "p99": 5000}],
        [{"p95": 301}],
    ),
    "p50 must not be greater than p99.": (
        [{"p50": 300, "p95": 300}],
        [{"p50": 301, "p95": None}],
    ),
    "degradeToRef is required when overload is Degrade, and only then: set both or neither.": (
        [{}, {"overload": "Reject", "degradeToRef": None}, {"overload": None, "degradeToRef": None}],
        [{"degradeToRef": None}, {"overload": "Defer"}, {"overload": None}],
    ),
    "deadlinePercentile must be declared by every latency target of the tier, and by at least one.": (
        [
            {"deadlinePercentile": None},
            {"deadlinePercentile": "P50"},
            {"deadlinePercentile": "P99", "targets": {"ttftMilliseconds": None}},
            {"deadlinePercentile": "P99", "targets": {"tpotMilliseconds": None}},
        ],
        [
            {"targets": None},
            {"targets": {"ttftMilliseconds": None, "tpotMilliseconds": None}},
            {"deadlinePercentile": "P50", "targets": {"ttftMilliseconds": {"p50": None}}},
            {"deadlinePercentile": "P95", "targets": {"tpotMilliseconds": {"p95": None}}},
            {"deadlinePercentile": "P99", "targets": {"tpotMilliseconds": {"p99": None}}},
        ],
    ),
    "storedAnswers.claimName serves one pod: set replicas to 1, or let a stateStore keep the answers.": (
        [{}, {"replicas": None}, {"replicas": 0}, {"replicas": 3, "storedAnswers": {"claimName": None}}],
        [{"replicas": 2}],
    ),
    "quantumTokens has no effect when locality is Ignore: remove it or prefer locality.": (
        [{}, {"locality": None}, {"locality": "Ignore", "quantumTokens": None}],
        [{"locality": "Ignore"}],
    ),
    "locality has no effect when order is Deadline: remove it or order by Service.": (
        [{}, {"order": "Deadline", "locality": None}, {"order": None}],
        [{"order": "Deadline"}],
    ),
    "spec.admission.degradeToRef must name another tier than this one.": (
        [{}, {"spec": {"admission": None}}, {"spec": {"admission": {"overload": None, "degradeToRef": None}}}],
        [{"spec": {"admission": {"degradeToRef": "interactive"}}}],
    ),
    "defaultTierRef must be one of tierRefs.": (
        [{"defaultTierRef": None}, {"tierRefs": ["a", "b"], "defaultTierRef": "b"}],
        [{"defaultTierRef": "standard"}],
    ),
    "defaultTierRef is required when tierRefs names more than one tier.": (
        [{"defaultTierRef": None}],
        [{"defaultTierRef": None, "tierRefs": ["a", "b"]}],
    ),
    "maxModelTokens must fit into the KV cache: at most kvCacheBlocks x blockTokens.": (
        [{"maxModelTokens": 16384}, {"maxModelTokens": None, "kvCacheBlocks": 128}, {"blockTokens": None}],
        [
            {"maxModelTokens": 16385},
            {"maxModelTokens": None, "kvCacheBlocks": 127},
            {"maxModelTokens": 16385, "kvCacheBlocks": None, "blockTokens": None},
        ],
    ),
    "maxBatchedTokens must not be less than maxRunningRequests: each running request decodes one token a step.": (
        [{"maxBatchedTokens": 16}, {"maxBatchedTokens": None}, {"maxRunningRequests": None}],
        [{"maxBatchedTokens": 15}, {"maxBatchedTokens": None, "maxRunningRequests": 257}],
    ),
    "onDemandFloor must be 0 when policy is SpotOnly.": (
        [{"policy": "SpotOnly", "onDemandFloor": 0}, {"policy": "SpotOnly", "onDemandFloor": None}, {"policy": None}],
        [{"policy": "SpotOnly"}],
    ),
    "extraReplicas must be 0 when policy is OnDemandOnly.": (
        [{"policy": "OnDemandOnly", "extraReplicas": 0}, {"policy": "OnDemandOnly", "extraReplicas": None}],
        [{"policy": "OnDemandOnly"}],
    ),
    "alternativeAccelerators needs accelerator: name the preferred kind there, and others here.": (
        [
            {"accelerator": "a", "alternativeAccelerators": ["b"]},
            {"accelerator": "a", "alternativeAccelerators": None},
            {"accelerator": None, "alternativeAccelerators": []},
            {"accelerator": None, "alternativeAccelerators": None},
        ],
        [{"accelerator": None, "alternativeAccelerators": ["b"]}],
    ),
    "maxUnavailable must be at least 1 when maxSurge is 0: otherwise no worker could ever be replaced.": (
        [{"maxSurge": 0}, {"maxSurge": None, "maxUnavailable": None}, {"maxUnavailable": 0}],
        [{"maxSurge": 0, "maxUnavailable": 0}, {"maxSurge": 0, "maxUnavailable": None}],
    ),
    "maxWorkers must be left out when pinning is EveryWorker.": (
        [{}, {"pinning": None}, {"pinning": "EveryWorker", "maxWorkers": None}],
        [{"pinning": "EveryWorker"}],
    ),
    "metadata.name must be at most 128 characters: clients name the adapter by it.": (
        [{"metadata": {"name": "a" * 128}}],
        [{"metadata": {"name": "a" * 129}}],
    ),
    "min must not be greater than max.": ([{"min": 4}], [{"min": 5}]),
    "pools must hold both a Prefill and a Decode pool or neither: one cannot serve without the other.": (
        [{"pools": [PREFILL, DECODE]}, {"pools": [ROLE_LESS]}, {"pools": [PREFILL, DECODE, UNIFIED]}],
        [{"pools": [PREFILL]}, {"pools": [DECODE, UNIFIED]}, {"pools": [ROLE_LESS, PREFILL]}],
    ),
    "disaggregation.mode cannot be Always without a Prefill and a Decode pool: add them, or set Auto.": (
        [
            {"disaggregation": None},
            {"disaggregation": {"mode": None}},
            {"disaggregation": {"mode": "Always"}, "pools": [PREFILL, DECODE]},
        ],
        [{"disaggregation": {"mode": "Always"}, "pools": [UNIFIED]}],
    ),
    "metadata.name must be at most 40 lower-case letters, digits and dashes and start with a letter:"
    " pods and Services are named after it.": (
        [{"metadata": {"name": "a" * 40}}, {"metadata": {"name": "smol-lm2"}}],
        [{"metadata": {"name": name}} for name in ("a" * 41, "2smol", "smol.lm")],
    ),
    "spec.gateway.fleetRefs must not name the fleet itself: its own gateway serves it in any case.": (
        [{}, {"spec": {"gateway": None}}, {"spec": {"gateway": {"fleetRefs": None}}}],
        [{"spec": {"gateway": {"fleetRefs": ["code", "smollm2"]}}}],
    ),
}

TRANSITIONS: dict[str, tuple[list[tuple[Patch, Patch]], list[tuple[Patch, Patch]]]] = {
    "role cannot be changed: add a pool with the other role instead.": (
        [({}, {}), ({"role": None}, {"role": "Unified"}), ({"role": "Unified"}, {"role": None})],
        [({"role": None}, {"role": "Prefill"}), ({"role": "Decode"}, {"role": None})],
    ),
    "source cannot be changed: streams cannot go on with another model, so create another fleet.": (
        [({}, {"dtype": "BFloat16"})],
        [({}, {"source": "hf://org/other"})],
    ),
    "kind cannot be changed: a drill runs once, so create another one.": (
        [({}, {"seconds": 60})],
        [({"kind": "SpotReclaim", "flood": None}, {"kind": "WorkerKill", "flood": None})],
    ),
    "fleetRef cannot be changed: a drill runs once, so create another one.": (
        [({}, {"seconds": 60})],
        [({}, {"fleetRef": "other"})],
    ),
    "fleetRef cannot be changed: a pool stays with its fleet.": (
        [({}, {"replicas": 5})],
        [({}, {"fleetRef": "other"})],
    ),
}


@dataclass(frozen=True)
class RuleCase:
    """A rule at one place of one kind, an object on one side of it, and for transitions the object before."""

    kind: str
    path: Path
    message: str
    cel: str
    patch: Patch
    former: Patch | None
    holds: bool

    def __str__(self) -> str:
        return f"{self.kind}-{dotted(self.path)}-{self.message[:40]}-{'keeps' if self.holds else 'breaks'}-{self.patch}"

    def obj(self) -> dict[str, Any]:
        return self._patched(self.patch)

    def former_obj(self) -> dict[str, Any]:
        return self._patched(self.former or {})

    def _patched(self, patch: Patch) -> dict[str, Any]:
        sample = SAMPLES[self.kind]
        part = merge(at(sample, self.path), patch)
        return replaced(sample, self.path, part) if self.path else part


def merge(obj: Any, patch: Any) -> Any:
    """Apply a JSON merge patch."""
    if not isinstance(patch, dict):
        return patch
    merged = copy.deepcopy(obj) if isinstance(obj, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def declared_rules(kind: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Every CEL rule of a kind and the path of the object that it is declared on."""
    root: Schema = schema_of(kind)
    for path, schema in [((), root), *fields(root)]:
        for entry in schema.get("x-kubernetes-validations", ()):
            yield path, entry


def all_rule_cases() -> list[RuleCase]:
    return [case for kind in SAMPLES for path, entry in declared_rules(kind) for case in _cases(kind, path, entry)]


def _cases(kind: str, path: Path, entry: dict[str, str]) -> Iterator[RuleCase]:
    message, rule = entry["message"], entry["rule"]
    for holds, patches in zip((True, False), CASES.get(message, ([], [])), strict=True):
        for patch in patches:
            yield RuleCase(kind, path, message, rule, patch, None, holds)
    for holds, pairs in zip((True, False), TRANSITIONS.get(message, ([], [])), strict=True):
        for former, patch in pairs:
            yield RuleCase(kind, path, message, rule, patch, former, holds)
