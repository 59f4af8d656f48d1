"""What following the load costs and keeps: llm-d's ramp request by request, a day and a step as flows."""

import math

from ramps import LARGE_MODEL, LIMITS, OUTPUT_TOKENS, PROMPT_TOKENS, TPOT_MS, TTFT_MS, attainment, ramp, run_ramp

from tierline.fleet.scaling.capacity import RequestShape, WorkerShape
from tierline.fleet.scaling.planner import ScalingPolicy
from tierline.sim.fluid_fleet import FluidSetup, run_fluid

RAMP = [(0.0, 2.0), (120.0, 2.0), (420.0, 10.0), (600.0, 10.0), (900.0, 1.0), (1200.0, 1.0)]
"""llm-d's SLO-aware scaling guide: 2, then 10, then 1 request a second, 3 to 8 replicas; it reports 95.8 % at 5.93."""

WORKER = WorkerShape(
    "Unified",
    LARGE_MODEL,
    LIMITS.max_running_requests,
    LIMITS.max_batched_tokens,
    LIMITS.total_blocks * LIMITS.block_tokens,
)
FLOW = FluidSetup(WORKER, RequestShape(PROMPT_TOKENS, OUTPUT_TOKENS), TTFT_MS, TPOT_MS)


def test_a_ramp_is_followed_before_it_is_missed(record_effect):
    run = run_ramp(ramp(RAMP), policy=ScalingPolicy(stabilization_ms=120_000))
    record_effect("R1_ramp_attainment", value=100 * attainment(run), threshold=97.0, unit="% (static 8: 100)")
    record_effect("R1_ramp_replicas", value=run.average_replicas, threshold=5.5, unit="on average", at_least=False)
    record_effect("R1_ramp_turns", value=run.turns, threshold=2, unit="turns in 20 minutes", at_least=False)


def test_a_day_whose_load_triples_is_followed_at_little_more_than_a_clairvoyants_cost(record_effect):
    def rate_at(seconds: float) -> float:
        return 10.0 - 5.0 * math.cos(2 * math.pi * seconds / 86_400)

    run = run_fluid(FLOW, ScalingPolicy(utilization=0.85), rate_at, hours=24, seed=1)
    record_effect("R2_day_attainment", value=100 * run.attainment, threshold=99.0, unit="% of requests")
    ratio = run.replica_hours / run.clairvoyant_hours
    record_effect("R2_day_cost", value=ratio, threshold=1.25, unit="x a clairvoyant's hours", at_least=False)
    record_effect("R2_day_turns", value=run.turns_in_any_hour(), threshold=2, unit="in any hour", at_least=False)


def test_a_step_to_four_times_the_load_costs_a_cold_start_and_no_oscillation(record_effect):
    def rate_at(seconds: float) -> float:
        return 16.0 if 3600 <= seconds < 7200 else 4.0

    run = run_fluid(FLOW, ScalingPolicy(), rate_at, hours=3, seed=1)
    record_effect("R3_step_attainment", value=100 * run.attainment, threshold=95.0, unit="% over 3 hours")
    record_effect("R3_step_turns", value=run.turns_in_any_hour(), threshold=2, unit="in any hour", at_least=False)
