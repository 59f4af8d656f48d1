"""Requests that get tokens together: each journal has every moment, and what was paid in advance is used up once."""

from pathlib import Path

from tierline.sim.receiving import Receiving
from tierline.sim.requests import SimulatedRequest
from tierline.sim.run import compiled_tiers, tenant_policy
from tierline.sim.scenario import load_scenario
from tierline.sim.workload import PlannedRequest

SCENARIO = load_scenario(Path(__file__).parents[3] / "examples" / "scenarios" / "three-tiers.yaml")


def request(name: str, tenant: str, prepaid_tokens: int, received: int = 0) -> SimulatedRequest:
    tiers = compiled_tiers(SCENARIO).tiers
    policy = tenant_policy(next(each for each in SCENARIO.tenants if each.name == tenant), tuple(tiers))
    made = SimulatedRequest(name, PlannedRequest(0.0, tenant, "standard", 8, 99), policy, tiers["standard"])
    made.prepaid_tokens = prepaid_tokens
    made.token_ms = [float(moment) for moment in range(received)]
    return made


def test_a_token_is_unpaid_once_what_was_paid_for_is_used_up() -> None:
    long, short, over = request("a", "acme", 3), request("b", "globex", 2, received=1), request("c", "acme", 1, 1)
    receiving = Receiving(("a", "b", "c"), [long, short, over])
    seen = [
        ([each.request_id for each in receiving.take(now_ms)], dict(receiving.unpaid))
        for now_ms in (5.0, 6.0, 7.0, 8.0)
    ]
    assert seen == [
        (["b"], {"acme": 1}),
        ([], {"acme": 1, "globex": 1}),
        (["a"], {"acme": 1, "globex": 1}),
        ([], {"acme": 2, "globex": 1}),
    ]


def test_every_moment_is_in_every_journal_and_only_new_ones_begin() -> None:
    new, old = request("a", "acme", 1), request("b", "acme", 1, received=2)
    receiving = Receiving(("a", "b"), [new, old])
    receiving.take(5.0)
    receiving.take(6.0)
    assert (new.token_ms, old.token_ms) == ([5.0, 6.0], [0.0, 1.0, 5.0, 6.0])
    assert receiving.beginning == [new]
