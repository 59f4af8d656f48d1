"""Fleets of an 8B model on H100s for experiments on virtual time."""

from pathlib import Path
from typing import Any

from tierline.sim.ladder import LADDER
from tierline.sim.run import SimulationResult, simulate
from tierline.sim.scenario import parse_scenario

H100_8B = {
    "iterationMs": 7.0,
    "prefillTokenMs": 0.0189,
    "attentionPairMs": 1.3e-6,
    "decodeMs": 0.02,
    "kvTokenMs": 5.6e-5,
}
ENGINE = {
    "kvCacheBlocks": 25_000,
    "blockTokens": 16,
    "maxRunningRequests": 256,
    "maxBatchedTokens": 8192,
    "maxModelTokens": 8192,
}


def tier(name: str, priority: int, objective: str, max_queue_ms: int, **targets: Any) -> dict[str, Any]:
    """Return a tier that rejects what would wait longer than `max_queue_ms`."""
    admission = {"overload": "Reject", "maxQueueMilliseconds": max_queue_ms}
    return {
        "name": name,
        "spec": {"objective": objective, "priority": priority, "targets": targets, "admission": admission},
    }


def source(tenant: str, tier_name: str, per_second: float, **options: Any) -> dict[str, Any]:
    """Return traffic with the lengths of conversations, or of the given prompt and output."""
    chosen = {"preset": "lmsys-chat" if "promptTokens" in options else "azure-conversation", **options}
    return {"tenant": tenant, "tier": tier_name, "requestsPerSecond": per_second, **chosen}


def run_fleet(
    policy: str,
    *,
    seed: int = 1,
    workers: int = 1,
    engine: dict[str, int] | None = None,
    latency: dict[str, float] | None = None,
    **parts: Any,
) -> SimulationResult:
    """Simulate a fleet; `parts` are the scenario's seconds, tiers, tenants and traffic."""
    sizes = {"count": workers, "engine": {**ENGINE, **(engine or {})}, "latency": latency or H100_8B}
    scenario = parse_scenario({"name": "effect", "workers": sizes, **parts}, "effect")
    return simulate(scenario, LADDER[policy], seed, Path())
