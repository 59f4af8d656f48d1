"""A chunk beside decodes is no longer than the upper bound of its iteration allows, but for the least progress."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.scheduling.batching.planner import INFEASIBLE_STRETCH
from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits, EngineRequest, IterationResult

TRUTH = Coefficients(iteration_ms=20.0, prefill_token_ms=0.5, attention_pair_ms=1e-4, decode_ms=1.0, kv_token_ms=0.002)
LIMITS = EngineLimits(
    max_running_requests=16, max_batched_tokens=256, max_model_tokens=4096, block_tokens=16, total_blocks=1024
)


@settings(max_examples=40, deadline=None)
@given(
    streams=st.integers(1, 8),
    prompt_tokens=st.integers(50, 3000),
    target_ms=st.sampled_from([5.0, 25.0, 40.0, 80.0, 400.0]),
    noise=st.lists(st.floats(0.7, 1.6), min_size=1, max_size=40),
)
def test_iterations_are_planned_within_the_target_by_the_margin(
    streams: int, prompt_tokens: int, target_ms: float, noise: list[float]
) -> None:
    core = SchedulerCore(LIMITS, LatencyModel(TRUTH))
    for index in range(streams):
        core.submit(EngineRequest(f"stream {index}", 16, 500, tpot_budget_ms=target_ms))
    core.submit(EngineRequest("prompt", prompt_tokens, 1))
    for step in range(80):
        costs, margin = core.latency.coefficients, core.latency.chunk_margin
        plan = core.plan(0.0)
        if plan is None:
            break
        features = core.in_flight[-1].features
        chunks = plan.counts[plan.decodes :]
        if plan.decodes and len(chunks):
            alone = features._replace(
                prefill_tokens=0.0,
                attention_pairs=0.0,
                kv_read_tokens=float(plan.starts[: plan.decodes].sum() + plan.decodes),
            )
            allowed_ms = max(target_ms / (1 + margin), costs.predict_ms(alone) * INFEASIBLE_STRETCH)
            least = int(chunks.sum()) <= LIMITS.block_tokens
            assert least or costs.predict_ms(features) <= allowed_ms * (1 + 1e-9)
        elapsed_ms = TRUTH.predict_ms(features) * noise[step % len(noise)]
        core.commit(IterationResult(plan.iteration, np.zeros(len(plan.slots), np.bool_), elapsed_ms))
