from dataclasses import replace
from typing import Any, get_args

import pytest

from tierline.api.decision_advice import advise
from tierline.api.decision_matrix import Objective
from tierline.api.meta import ObjectMeta
from tierline.api.policy import TierPolicy, compile_policy
from tierline.api.tier import SLOTier


def policy(objective: str, **overrides: Any) -> TierPolicy:
    spec = {"objective": objective, "priority": 1, **overrides}
    tier = SLOTier.model_validate({"metadata": ObjectMeta(name="t"), "spec": spec})
    return compile_policy([tier], (), ()).tiers["t"]


@pytest.mark.parametrize("objective", get_args(Objective))
def test_defaults_go_with_their_objective(objective: str) -> None:
    assert advise(policy(objective)) == ()


@pytest.mark.parametrize(
    ("objective", "overrides", "reason", "field"),
    [
        ("Latency", {"batching": {"mode": "Discrete"}}, "BatchesMakeWait", "spec.batching.mode"),
        ("Latency", {"batching": {"mode": "Slice"}}, "BatchesMakeWait", "spec.batching.mode"),
        ("Latency", {"preemption": {"granularity": "Request"}}, "CoarsePreemption", "spec.preemption.granularity"),
        ("Throughput", {"preemption": {"granularity": "Token"}}, "FrequentPreemption", "spec.preemption.granularity"),
        ("Cost", {"spot": "Avoid"}, "SpotAvoided", "spec.spot"),
        ("Fairness", {"fairness": {"order": "Deadline"}}, "NoFairness", "spec.fairness.order"),
        ("Fairness", {"fairness": {"quantumTokens": 2_000_000}}, "NoFairness", "spec.fairness.quantumTokens"),
    ],
)
def test_what_the_framework_avoids_is_named_with_its_field(
    objective: str, overrides: dict[str, Any], reason: str, field: str
) -> None:
    [advice] = advise(policy(objective, **overrides))
    assert (advice.reason, advice.field) == (reason, field)
    assert str(advice).startswith(field)


def test_the_same_knob_is_right_for_another_objective() -> None:
    assert advise(policy("Throughput", batching={"mode": "Discrete"})) == ()
    assert advise(policy("Throughput", preemption={"preemptible": "Forbid", "granularity": "Token"})) == ()
    assert advise(replace(policy("Cost"), order="Deadline")) == ()
