"""Experiments of fairness on a small device (about an A10G with a 7B model), so that a minute costs a second or two."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from simulated_fleets import source

from tierline.sim.ladder import LADDER
from tierline.sim.run import SimulationResult, simulate
from tierline.sim.scenario import parse_scenario
from tierline.telemetry.fairness import service_events

A10G_7B = {
    "iterationMs": 30.0,
    "prefillTokenMs": 0.1,
    "attentionPairMs": 5.0e-6,
    "decodeMs": 0.1,
    "kvTokenMs": 1.0e-4,
}
ENGINE = {
    "kvCacheBlocks": 1500,
    "blockTokens": 16,
    "maxRunningRequests": 64,
    "maxBatchedTokens": 2048,
    "maxModelTokens": 4096,
}
VTC_BOUND = 2 * 2 * ENGINE["kvCacheBlocks"] * ENGINE["blockTokens"]
"""2 * max(longest prompt, 2 * tokens in the KV cache): Sheng et al., OSDI 2024, theorem 4.4."""
QUEUED = {
    "name": "standard",
    "spec": {
        "objective": "Fairness",
        "priority": 50,
        "targets": {"ttftMilliseconds": {"p95": 5000}},
        "admission": {"overload": "Defer", "maxQueueMilliseconds": 86_400_000},
    },
}
"""A tier that refuses nobody: VTC promises something to tenants that always wait, and who is refused does not wait."""


def traffic(tenant: str, per_second: float, **options: Any) -> dict[str, Any]:
    """Return traffic of 64 prompt and 64 output tokens unless said otherwise; 23 of those a second are the capacity."""
    return source(tenant, "standard", per_second, **{"promptTokens": 64, "outputTokens": 64, **options})


def share(
    policy: str, seconds: float, sources: Sequence[Mapping[str, Any]], weights: Mapping[str, int] | None = None
) -> SimulationResult:
    """Simulate tenants on one worker."""
    names = dict.fromkeys(each["tenant"] for each in sources)
    scenario = parse_scenario(
        {
            "name": "fairness",
            "seconds": seconds,
            "tiers": [QUEUED],
            "tenants": [{"name": name, "weight": (weights or {}).get(name, 1)} for name in names],
            "traffic": list(sources),
            "workers": {"count": 1, "engine": ENGINE, "latency": A10G_7B},
        },
        "fairness",
    )
    return simulate(scenario, LADDER[policy], 1, Path())


def services(result: SimulationResult, from_s: float, until_s: float) -> dict[str, float]:
    """Return each tenant's service over its weight in a span of time."""
    weights = {tenant.name: tenant.weight for tenant in result.facts.tenants}
    service = dict.fromkeys(weights, 0.0)
    for event in service_events(result.records):
        if from_s * 1000 <= event.at_ms < until_s * 1000:
            service[event.tenant] += event.service / weights[event.tenant]
    return service


def largest_difference(result: SimulationResult, from_s: float, until_s: float) -> float:
    """Return the largest difference of two tenants' service in any interval of a span in which all wait."""
    weights = {tenant.name: tenant.weight for tenant in result.facts.tenants}
    service = dict.fromkeys(weights, 0.0)
    spans = {pair: [0.0, 0.0] for pair in combinations(weights, 2)}
    for event in service_events(result.records):
        if not from_s * 1000 <= event.at_ms < until_s * 1000:
            continue
        service[event.tenant] += event.service / weights[event.tenant]
        for (one, other), span in spans.items():
            if event.tenant in (one, other):
                lead = service[one] - service[other]
                span[0], span[1] = min(span[0], lead), max(span[1], lead)
    return max(high - low for low, high in spans.values())


def spread_percent(service: Mapping[str, float]) -> float:
    """Return how far the best served tenant is above the worst, in percent."""
    return 100 * (max(service.values()) / min(service.values()) - 1)
