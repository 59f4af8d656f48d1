"""What iteration-level and stall-free batching gain over what they replace, on virtual time.

The device is an 8B model on an H100; the traffic has the lengths and burstiness of Azure's conversation trace. The
replaced policies run in the same core, only their batches are composed differently.
"""

from dataclasses import replace

import numpy as np

from tierline.scheduling.batching.batch import Batch
from tierline.scheduling.batching.planner import BatchPlanner
from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits, EngineRequest
from tierline.scheduling.slots import Phase
from tierline.sim.engine import Arrival, SimulatedEngine
from tierline.sim.presets import AZURE_CONVERSATION
from tierline.sim.workload import TenantTraffic, plan_workload

H100_8B = Coefficients(7.0, 0.0189, 1.3e-6, 0.02, 5.6e-5)
LIMITS = EngineLimits(
    max_running_requests=256,
    max_batched_tokens=8192,
    max_model_tokens=8192,
    block_tokens=16,
    total_blocks=20_000,
    max_partial_prefills=4,
)
TPOT_BUDGET_MS = 25.0


class PrefillFirst(BatchPlanner):
    """As early continuous batching did: while a prompt can be computed, nobody decodes."""

    def compose(self, iteration: int) -> Batch:
        none = np.empty(0, np.int64)
        batch = Batch(iteration, none, none, self._limits.max_batched_tokens, float("inf"))
        self._prompts(batch)
        return self._decodes(iteration) if batch.empty else batch


class StaticBatching(BatchPlanner):
    """Request-level batching: a batch is admitted when the one before has wholly finished."""

    def compose(self, iteration: int) -> Batch:
        batch = self._decodes(iteration)
        begun = (self._slots.phase == Phase.RUNNING) & (self._slots.known - self._slots.computed > 1)
        if batch.empty or begun.any():
            batch.chunk_budget_ms = float("inf")
            self._prompts(batch)
        return batch


def conversation(per_second: float, seconds: float, seed: int, tpot_ms: float = float("inf")) -> list[Arrival]:
    traffic = TenantTraffic("tenant", "tier", per_second, AZURE_CONVERSATION, min_output_tokens=2)
    return [
        Arrival(
            planned.at_ms,
            EngineRequest(f"r{index}", planned.prompt_tokens, planned.output_tokens, tpot_budget_ms=tpot_ms),
        )
        for index, planned in enumerate(plan_workload([traffic], seconds, seed))
    ]


def run(planner: type[BatchPlanner], arrivals: list[Arrival], limits: EngineLimits) -> tuple[SimulatedEngine, float]:
    engine = SimulatedEngine(SchedulerCore(limits, LatencyModel(H100_8B), planner), H100_8B)
    return engine, engine.replay(arrivals)


def gap_p99_ms(engine: SimulatedEngine) -> float:
    return float(np.percentile(np.concatenate([np.diff(moments) for moments in engine.token_ms.values()]), 99))


def first_token_p50_ms(engine: SimulatedEngine, arrivals: list[Arrival]) -> float:
    waits = [engine.token_ms[arrival.request.request_id][0] - arrival.at_ms for arrival in arrivals]
    return float(np.median(waits))


def test_decodes_do_not_stall_while_prompts_are_computed(record_effect) -> None:
    arrivals = conversation(per_second=10, seconds=40, seed=31, tpot_ms=TPOT_BUDGET_MS)
    stall_free, _ = run(BatchPlanner, arrivals, LIMITS)
    prefill_first, _ = run(PrefillFirst, arrivals, LIMITS)
    assert gap_p99_ms(stall_free) <= TPOT_BUDGET_MS
    # The price is a later first token; it must stay moderate.
    assert first_token_p50_ms(stall_free, arrivals) <= 3 * first_token_p50_ms(prefill_first, arrivals)
    ratio = gap_p99_ms(prefill_first) / gap_p99_ms(stall_free)
    record_effect("stall_free_gap_p99", value=ratio, threshold=3.0, unit="x shorter p99 gap than prefill-first")


def test_requests_join_and_leave_between_iterations(record_effect) -> None:
    arrivals = conversation(per_second=1000, seconds=0.4, seed=32)
    limits = replace(LIMITS, max_running_requests=32, max_batched_tokens=4096)
    _, continuous_ms = run(BatchPlanner, arrivals, limits)
    _, static_ms = run(StaticBatching, arrivals, limits)
    ratio = static_ms / continuous_ms
    record_effect("continuous_throughput", value=ratio, threshold=1.7, unit="x output tokens/s of static batching")


PACES = ((25.0, 17), (50.0, 21), (100.0, 23))
"""A time per token that is promised, and requests a second near what one device can serve with it."""

STATIC_TOKENS = (512, 1024, 2048)
FIRST_TOKEN_MS = 2000.0


def in_time(engine: SimulatedEngine, arrivals: list[Arrival], tpot_ms: float) -> float:
    """Return the share of requests whose first token came within two seconds and whose p99 gap is as promised."""
    good = 0
    for arrival in arrivals:
        moments = engine.token_ms[arrival.request.request_id]
        kept = float(np.percentile(np.diff(moments), 99)) <= tpot_ms * 1.001
        good += kept and moments[0] - arrival.at_ms <= FIRST_TOKEN_MS
    return good / len(arrivals)


def static_share(tokens: int, per_second: float, tpot_ms: float) -> float:
    arrivals = conversation(per_second, 20, 41)
    return in_time(run(BatchPlanner, arrivals, replace(LIMITS, max_batched_tokens=tokens))[0], arrivals, tpot_ms)


def dynamic_share(per_second: float, tpot_ms: float) -> float:
    arrivals = conversation(per_second, 20, 41, tpot_ms)
    return in_time(run(BatchPlanner, arrivals, LIMITS)[0], arrivals, tpot_ms)


def test_chunks_by_the_latency_model_equal_the_best_static_budget_at_each_pace(record_effect) -> None:
    """Sarathi-Serve profiles its budget once; which is best depends on the pace that is promised."""
    static = {tokens: [static_share(tokens, rate, pace) for pace, rate in PACES] for tokens in STATIC_TOKENS}
    best = [max(shares) for shares in zip(*static.values(), strict=True)]
    ours = min(dynamic_share(rate, pace) / most for (pace, rate), most in zip(PACES, best, strict=True))
    record_effect("C1_chunks_over_best_static", value=ours, threshold=0.97, unit="x requests in time, worst pace")
    worst = [min(share / most for share, most in zip(shares, best, strict=True)) for shares in static.values()]
    value = max(worst)
    record_effect("C1_best_fixed_budget", value=value, threshold=0.8, unit="x at its worst pace", at_least=False)
