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
from fleet_builders import IMAGES

from tierline.fleet.placement.market import Market
from tierline.fleet.placement.spot_history import MarketRecord, SpotHistory
from tierline.fleet.rollout.canary import CanaryFigures, TierFigures
from tierline.fleet.scaling.learned import Learned
from tierline.fleet.wanted import Images
from tierline_operator.adapter_reconciling import AdapterSights
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.capacity.keeping import Keeper
from tierline_operator.cluster import APPLY, ApiError
from tierline_operator.drill_reconciling import DrillReconciler
from tierline_operator.election import Election
from tierline_operator.faults import Faults
from tierline_operator.flooding import Floods
from tierline_operator.kinds import FLEET_DRILL, LLM_FLEET, NODE, POD, SLO_TIER, TENANT_QUOTA, WATCHED, WORKER_POOL
from tierline_operator.policy_status import PolicyStatus
from tierline_operator.reconciling import Reconciler
from tierline_operator.settings import Settings

CHART = Path(__file__).parents[3] / "charts/tierline/templates"
CLUSTER_SCOPED = {NODE.plural, SLO_TIER.plural, f"{SLO_TIER.plural}/status"}
KOPF = {(verb, kind.group, kind.plural) for kind in (LLM_FLEET, WORKER_POOL, FLEET_DRILL) for verb in ("list", "watch")}
FINALIZERS = {("patch", kind.group, kind.plural) for kind in (LLM_FLEET, WORKER_POOL, FLEET_DRILL)}
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete", "PATCH": "patch"}
GATEWAYS_FEEDS = {(POD.group, POD.plural), *((it.group, it.plural) for it in (LLM_FLEET, TENANT_QUOTA, SLO_TIER))}
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


async def find_names_taken(world):
    """A user has made everything that bears a gateway's name, without our label: no store knows of it."""
    world.put("LLMFleet", "theirs", {**copy.deepcopy(FLEET), "pools": [{**FLEET["pools"][0], "name": "third"}]})
    _, stores, actuator = wired(world.server)
    for kind in ("ServiceAccount", "Role", "Service", "RoleBinding", "Deployment"):
        world.server.put({"kind": kind, "metadata": {"name": "theirs-gateway", "namespace": "demo"}, "rules": []})
    reconciler = Reconciler(stores, actuator, IMAGES, book=CapacityBook())
    for _ in range(2):
        await reconciler.fleet("demo", "theirs")


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
    await find_names_taken(world)
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


def role_rules(file, name):
    """Return the rules of a role of the chart with every switch on, without the list that it includes."""
    lines = [line for line in (CHART / file).read_text().splitlines() if not line.startswith("{{")]
    text = re.sub(r"{{ (?:if [^}]*|end) }}", "", "\n".join(lines))
    text = re.sub(r"{{[^}]*}}", "x", re.sub(r"{{ include \"tierline.fullname\" [^}]*}}", "tl", text))
    roles = [it for it in yaml.safe_load_all(text) if it["kind"] in {"Role", "ClusterRole"}]
    return next(it["rules"] for it in roles if it["metadata"]["name"] == name)


class Kept:
    """A server that holds what was last sent to each path, and knows of nothing else."""

    def __init__(self):
        self.calls, self.objects = [], {}

    async def request(self, call):
        self.calls.append(call)
        path = call.path if call.method != "POST" else f"{call.path}/{call.body['metadata']['name']}"
        if call.method in {"GET", "PATCH"} and path not in self.objects:
            raise ApiError(404, "NotFound", f"{path} not found")
        if call.body is not None:
            self.objects[path] = {**call.body, "metadata": {**call.body["metadata"], "resourceVersion": "1"}}
        return self.objects[path]


async def test_cluster_wide_rights_are_those_that_are_used(lives):
    """A node is asked for before its pods are deleted without its leave, and tainted by a reclaim drill."""
    _, _, actuator = wired(lives.server)
    await actuator.announce_reclaim("node-a", "1800000000")
    used = {right for right in wants(lives) if right[2] in CLUSTER_SCOPED}
    assert granted(role_rules("rbac-cluster.yaml", "tl-operator")) == used


async def test_the_leaders_rights_are_those_that_are_used():
    server = Kept()
    settings = Settings("a", "ops", Images("w", "g"))
    for _ in range(2):
        await Election(server, settings).acquire()
    keeper = Keeper(server, "ops", "tl-prices", "tl-learned")
    await keeper.prices()
    await keeper.learned()
    for losses in (1.0, 2.0):
        await keeper.keep(Learned(SpotHistory({Market("zone-a"): MarketRecord(losses, 1.0, 1)})))
    used = {right for call in server.calls for right in needs(call)}
    assert granted(role_rules("rbac-leader.yaml", "tl-leader")) == used


async def test_gateways_rights_are_those_that_are_used(lives):
    """They list and watch through `Feed`, and read a tenant's key from the Secret that its quota names."""
    feeds = {(verb, group, plural) for verb in ("list", "watch") for group, plural in GATEWAYS_FEEDS}
    own = granted(rule for role in lives.server.of_kind("Role") for rule in role["rules"])
    shared = granted(role_rules("rbac-cluster.yaml", "tl-tier-reader"))
    assert own | shared == feeds | {("get", "", "secrets")}
