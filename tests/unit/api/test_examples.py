"""The objects in examples/ are what a newcomer applies first."""

from pathlib import Path

import yaml

from tierline.api.kinds import KINDS
from tierline.api.names import API_VERSION
from tierline.api.parsing import parse
from tierline.api.policy import compile_policy

EXAMPLES = Path(__file__).parents[3] / "examples"


def documents(name):
    return list(yaml.safe_load_all((EXAMPLES / name).read_text()))


def resources(name):
    found = documents(name)
    assert all(document["apiVersion"] == API_VERSION for document in found)
    return [parse(KINDS[document["kind"]], document) for document in found]


def test_the_examples_compile_to_a_policy_without_problems():
    policy = compile_policy(resources("1-tiers.yaml"), resources("3-tenants.yaml"), resources("4-fleet.yaml"))
    assert policy.problems == ()
    promised = {name: (tier.ttft_deadline_ms, tier.tpot_budget_ms) for name, tier in policy.tiers.items()}
    assert promised == {"interactive": (2500, 400), "standard": (6000, 600), "batch": (20000, 1500)}
    assert {name: tenant.weight for name, tenant in policy.tenants.items()} == {"acme": 4, "globex": 2, "initech": 1}
    assert policy.models["smollm2"].tiers == ("interactive", "standard", "batch")


def test_an_adapter_names_a_fleet_of_the_examples():
    (adapter,) = resources("adapters/poems.yaml")
    fleets = {fleet.metadata.name for fleet in resources("4-fleet.yaml")}
    assert set(adapter.spec.fleet_refs) <= fleets


def test_tiers_are_served_in_the_order_of_their_promises():
    tiers = compile_policy(resources("1-tiers.yaml"), [], []).tiers
    assert tiers["interactive"].priority > tiers["standard"].priority > tiers["batch"].priority


def test_every_api_key_is_in_a_secret_and_no_key_is_used_twice():
    secrets = {secret["metadata"]["name"]: secret["stringData"] for secret in documents("2-secrets.yaml")}
    refs = [ref for quota in resources("3-tenants.yaml") for ref in quota.spec.api_key_secret_refs]
    keys = [secrets[ref.name][ref.key] for ref in refs]
    assert len(set(keys)) == len(keys) == 3
