"""The chart grants what the operator does, and nothing that it never does.

What is done is recorded over the lives of fleets; what is needed besides is listed here, with the reason.
"""

import copy
import re
from pathlib import Path

import pytest
import yaml
from api_server_in_memory import wired
from crashing_operator import CrashWorld

from tierline.fleet.rollout.canary import CanaryFigures, TierFigures
from tierline_operator.adapter_reconciling import AdapterSights
from tierline_operator.cluster import APPLY
from tierline_operator.drill_reconciling import DrillReconciler
from tierline_operator.faults import Faults
from tierline_operator.flooding import Floods
from tierline_operator.kinds import FLEET_DRILL, LLM_FLEET, NODE, SLO_TIER, WATCHED, WORKER_POOL
from tierline_operator.policy_status import PolicyStatus

CHART = Path(__file__).parents[3] / "charts/tierline/templates"
CLUSTER_SCOPED = {NODE.plural, SLO_TIER.plural, f"{SLO_TIER.plural}/status"}
KOPF = {(verb, kind.group, kind.plural) for kind in (LLM_FLEET, WORKER_POOL, FLEET_DRILL) for verb in ("list", "watch")}
FINALIZERS = {("patch", kind.group, kind.plural) for kind in (LLM_FLEET, WORKER_POOL, FLEET_DRILL)}
VERBS = {"GET": "get", "POST": "create", "DELETE": "delete", "PATCH": "patch"}
FLEET = {
    "model": {"source": "/models/tiny"},
    "tierRefs": ["gold"],
    "pools": [{"name": "main", "replicas": {"min": 2, "max": 4}}],
    "rollout": {"canaryPercent": 50, "holdSeconds": 0, "analysis": {"minRequests": 5}},
}


def needs(call):
    """Return the rights that a call needs; an apply of what is not there yet creates it."""
    _, *parts = call.path.split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    rest = rest[2:] if rest[0] == "namespaces" and len(rest) > 2 else rest
    resource = "/".join((rest[0], *rest[2:]))
    yield VERBS[call.method], group, resource
    if call.content_type == APPLY and len(rest) == 2:
        yield "create", group, resource


def granted(rules):
    return {
        (verb, group, resource)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def charts_rules():
    text = (CHART / "_helpers.tpl").read_text()
    block = re.search(r'define "tierline.namespacedRules" -}}\n(.*?)\{\{- end }}', text, re.DOTALL)
    return yaml.safe_load(block[1])


@pytest.fixture
async def lives():
    """Several things that happen to a fleet, and everything that was asked of the API server meanwhile."""
    world = CrashWorld()
    keys = [{"name": "acme-keys", "key": "api-key"}]
    world.put("TenantQuota", "acme", {"tenant": "acme", "tierRefs": ["gold"], "apiKeySecretRefs": keys})
    world.put("LoRAAdapter", "poems", {"source": "hf://a/poems", "rank": 8, "fleetRefs": ["chat"]})
    second = {"name": "second", "replicas": {"min": 1, "max": 1}}
    world.put("LLMFleet", "chat", {**copy.deepcopy(FLEET), "pools": [*FLEET["pools"], second]})
    await world.until_quiet()
    world.figures.told = CanaryFigures({"gold": TierFigures(20, 0)}, {})
    world.put("LLMFleet", "chat", {**copy.deepcopy(FLEET), "drainSeconds": 9})
    await world.until_quiet()
    pool = next(iter(world.server.of_kind("WorkerPool")))
    world.server.put({**pool, "spec": {**pool["spec"], "replicas": 9}})
    world.taint("node-a", world.now_ms + 20_000)
    await world.until_quiet()
    fleet = world.server.objects[LLM_FLEET.path("demo", "chat")]
    labels = {"tierline.dev/drills": "allowed"}
    world.server.put({**fleet, "metadata": {**fleet["metadata"], "labels": labels}})
    world.put("FleetDrill", "kill", {"fleetRef": "chat", "kind": "WorkerKill"})
    _, stores, actuator = wired(world.server)
    await DrillReconciler(stores, actuator, Faults(stores, actuator, Floods(), lambda _: None), "a").drill(
        "demo", "kill"
    )
    await PolicyStatus(stores, actuator, AdapterSights(), "ops/operator").look()
    return world


def wants(world):
    asked = {right for call in world.server.calls for right in needs(call)}
    watched = {(verb, kind.group, kind.plural) for kind in WATCHED for verb in ("list", "watch")}
    # Nobody can grant what he does not have: the gateways' rights are the operator's too.
    handed_on = granted(rule for role in world.server.of_kind("Role") for rule in role["rules"])
    return asked | watched | KOPF | FINALIZERS | handed_on


async def test_everything_that_the_operator_does_is_granted(lives):
    wanted = {right for right in wants(lives) if right[2] not in CLUSTER_SCOPED}
    assert wanted - granted(charts_rules()) == set()


async def test_nothing_is_granted_that_the_operator_never_does(lives):
    assert granted(charts_rules()) - wants(lives) == set()
