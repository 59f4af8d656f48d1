"""Traffic whose rate changes, and fleets that follow it, on virtual time."""

from collections.abc import Callable, Sequence

import numpy as np

from tierline.api.parsing import parse
from tierline.api.policy import TenantPolicy, compile_policy
from tierline.api.tier import SLOTier
from tierline.fleet.scaling.load import FleetLoad
from tierline.fleet.scaling.planner import ScalingPolicy
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.plans import EngineLimits
from tierline.sim.ladder import LADDER
from tierline.sim.presets import LMSYS_CHAT, fixed_lengths
from tierline.sim.scaled_fleet import Scaled, ScaledRun, ScaledSimulation
from tierline.sim.setup import FleetSetup
from tierline.sim.workload import PlannedRequest, TenantTraffic, plan_workload
from tierline.telemetry.goodput import met
from tierline.telemetry.records import TierTarget

LARGE_MODEL = Coefficients(100.0, 0.1, 2e-6, 0.1, 1e-4)
"""A model so large that one worker carries 1.6 of the requests below a second within 250 ms a token."""

LIMITS = EngineLimits(
    max_running_requests=64, max_batched_tokens=2048, max_model_tokens=8192, block_tokens=16, total_blocks=20_000
)
PROMPT_TOKENS, OUTPUT_TOKENS = 3000, 100
TTFT_MS, TPOT_MS = 3000, 250
STEP_SECONDS = 15.0


def ramp(points: Sequence[tuple[float, float]], seed: int = 1) -> tuple[PlannedRequest, ...]:
    """Return requests whose rate goes linearly from point to point (seconds, requests a second)."""
    times, rates = zip(*points, strict=True)
    preset = fixed_lengths(LMSYS_CHAT, PROMPT_TOKENS, OUTPUT_TOKENS)
    planned: list[PlannedRequest] = []
    for index, start in enumerate(np.arange(0.0, times[-1], STEP_SECONDS)):
        rate = float(np.interp(start + STEP_SECONDS / 2, times, rates))
        source = TenantTraffic(
            "web", "chat", rate, preset, start_seconds=float(start), end_seconds=float(start + STEP_SECONDS)
        )
        planned += plan_workload([source], times[-1], seed * 1000 + index)
    return tuple(planned)


def setup(workers: int) -> FleetSetup:
    spec = {
        "objective": "Latency",
        "priority": 100,
        "targets": {"ttftMilliseconds": {"p95": TTFT_MS}, "tpotMilliseconds": {"p95": TPOT_MS}},
        "admission": {"overload": "Reject", "maxQueueMilliseconds": 30_000},
    }
    tiers = compile_policy([parse(SLOTier, {"metadata": {"name": "chat"}, "spec": spec})], (), ()).tiers
    return FleetSetup(tiers, {"web": tenant()}, LIMITS, LARGE_MODEL, workers)


def tenant() -> TenantPolicy:
    return TenantPolicy(
        namespace="",
        tenant="web",
        billing_tier="",
        weight=1,
        tiers=("chat",),
        default_tier="chat",
        api_key_refs=(),
        tokens_per_minute=None,
        requests_per_minute=None,
        max_concurrent_requests=None,
        max_service_difference_tokens=None,
        cache_sharing="Isolated",
    )


def run_ramp(
    workload: Sequence[PlannedRequest],
    low: int = 3,
    high: int = 8,
    policy: ScalingPolicy | None = None,
    replicas_at: Callable[[FleetLoad, float], int] | None = None,
) -> ScaledRun:
    scaled = Scaled(low, high, policy or ScalingPolicy(stabilization_ms=120_000))
    return ScaledSimulation(setup(low), LADDER["tierline"], workload, scaled, replicas_at).scaled_run()


def attainment(run: ScaledRun) -> float:
    """Return the share of requests that met both targets; refused ones did not."""
    target = TierTarget("chat", TTFT_MS, TPOT_MS)
    records = [request.record() for request in run.fleet.requests]
    return sum(met(record, target) for record in records) / len(records)
