"""What tenants get of a fleet that cannot serve them all: VTC's experiments, on the shipped queue.

The unit is VTC's: a prompt token counts 1, an output token 2, divided by the weight. Its bound for tenants that are
always backlogged is 2 * max(longest prompt, 2 * tokens in the KV cache) (Sheng et al., OSDI 2024, theorem 4.4).
"""

from itertools import combinations

import numpy as np
from simulated_fleets import run_fleet, source, tier

from tierline.sim.run import SimulationResult
from tierline.telemetry.fairness import service_events

STANDARD = tier("standard", 50, "Fairness", 86_400_000, ttftMilliseconds={"p95": 5000}, tpotMilliseconds={"p95": 100})
QUEUED = {
    **STANDARD,
    "spec": {**STANDARD["spec"], "admission": {"overload": "Defer", "maxQueueMilliseconds": 86_400_000}},
}
"""A tier that refuses nobody: VTC promises something to tenants that always wait, and who is refused does not wait."""
KV_BLOCKS = 6250
VTC_BOUND = 2 * 2 * KV_BLOCKS * 16
BACKLOGGED_FROM_MS, BACKLOGGED_UNTIL_MS = 10_000.0, 60_000.0
"""The queue forms within the first seconds; VTC promises nothing before."""


def share_out(policy: str, weights: dict[str, int], rates: dict[str, float]) -> SimulationResult:
    return run_fleet(
        policy,
        engine={"kvCacheBlocks": KV_BLOCKS},
        seconds=60,
        tiers=[QUEUED],
        tenants=[{"name": name, "weight": weight} for name, weight in weights.items()],
        traffic=[source(name, "standard", rate, promptTokens=256, outputTokens=256) for name, rate in rates.items()],
    )


def weighted_services(result: SimulationResult) -> tuple[dict[str, float], float]:
    """Return each tenant's service over weight while all are backlogged, and the largest difference in any interval."""
    weights = {tenant.name: tenant.weight for tenant in result.facts.tenants}
    service = dict.fromkeys(weights, 0.0)
    spans = {pair: [0.0, 0.0] for pair in combinations(weights, 2)}
    for event in service_events(result.records):
        if not BACKLOGGED_FROM_MS <= event.at_ms <= BACKLOGGED_UNTIL_MS:
            continue
        service[event.tenant] += event.service / weights[event.tenant]
        for (one, other), span in spans.items():
            lead = service[one] - service[other]
            span[0], span[1] = min(span[0], lead), max(span[1], lead)
    return service, max(high - low for low, high in spans.values())


def test_two_tenants_of_one_weight_get_the_same_whatever_they_ask_for(record_effect) -> None:
    tenants, rates = {"a": 1, "b": 1}, {"a": 30.0, "b": 60.0}
    ours, difference = weighted_services(share_out("tierline", tenants, rates))
    _, naive_difference = weighted_services(share_out("fcfs-chunked", tenants, rates))
    assert naive_difference > VTC_BOUND
    percent = 100 * abs(ours["b"] / ours["a"] - 1)
    record_effect("E2_equal_share", value=percent, threshold=2.0, unit="% off equal service", at_least=False)
    record_effect(
        "E2_max_service_difference",
        value=difference,
        threshold=VTC_BOUND,
        unit="weighted tokens (bound of VTC)",
        at_least=False,
    )


def test_weights_decide_when_demand_is_equal(record_effect) -> None:
    rates = dict.fromkeys("abc", 40.0)
    ours, difference = weighted_services(share_out("tierline", {"a": 1, "b": 2, "c": 4}, rates))
    assert difference <= VTC_BOUND
    percent = 100 * (max(ours.values()) / min(ours.values()) - 1)
    record_effect("E3_weighted_share", value=percent, threshold=2.0, unit="% off weights 1:2:4", at_least=False)


def test_idling_earns_no_credit(record_effect) -> None:
    """VTC's lift: a tenant that comes after three minutes takes its half, not all until it has caught up."""
    come_ms, span_ms = 180_000.0, 75_000.0
    result = run_fleet(
        "tierline",
        engine={"kvCacheBlocks": KV_BLOCKS},
        seconds=256,
        tiers=[STANDARD],
        tenants=[{"name": "old"}, {"name": "new"}],
        traffic=[
            source("old", "standard", 26.0, promptTokens=256, outputTokens=256),
            source("new", "standard", 60.0, promptTokens=256, outputTokens=256, startSeconds=come_ms / 1000),
        ],
    )
    service = dict.fromkeys(("old", "new"), 0.0)
    for event in service_events(result.records):
        if come_ms <= event.at_ms < come_ms + span_ms:
            service[event.tenant] += event.service
    percent = 100 * abs(service["new"] / sum(service.values()) - 0.5)
    record_effect("E4_newcomers_share", value=percent, threshold=5.0, unit="points off one half", at_least=False)


def test_a_small_tenant_does_not_wait_behind_one_that_floods(record_effect) -> None:
    waits = {policy: victim_ttft_p99_ms(policy) for policy in ("tierline", "fcfs-chunked")}
    assert waits["fcfs-chunked"] > 100_000
    record_effect(
        "E5_victim_ttft_p99", value=waits["tierline"], threshold=500.0, unit="ms beside a flood", at_least=False
    )


def victim_ttft_p99_ms(policy: str) -> float:
    result = run_fleet(
        policy,
        seconds=60,
        tiers=[{**STANDARD, "spec": {**STANDARD["spec"], "targets": {"tpotMilliseconds": {"p95": 50}}}}],
        tenants=[{"name": name, "maxServiceDifferenceTokens": 2048} for name in ("victim", "flood")],
        traffic=[
            source("victim", "standard", 4, promptTokens=512, outputTokens=128),
            source("flood", "standard", 40, promptTokens=2048, outputTokens=256),
        ],
    )
    waits = [record.ttft_ms for record in result.records if record.tenant == "victim"]
    assert None not in waits, "a request of the small tenant was never served"
    return float(np.percentile([wait for wait in waits if wait is not None], 99))
