"""Pacing: nobody waits longer than the own budget, and the tightest is kept unless those of the others forbid it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.scheduling.batching.pacing import paced
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits
from tierline.scheduling.slots import SlotTable

LATENCY = Coefficients(iteration_ms=4, prefill_token_ms=0.1, attention_pair_ms=0, decode_ms=0.5, kv_token_ms=0.001)
LIMITS = EngineLimits(
    total_blocks=64, block_tokens=16, max_running_requests=64, max_batched_tokens=128, max_model_tokens=1024
)


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from([10.0, 20.0, 45.0, 400.0]), st.integers(0, 900)), min_size=1, max_size=60),
    prompts=st.booleans(),
)
def test_every_row_decodes_within_its_budget(rows: list[tuple[float, int]], prompts: bool) -> None:
    slots, latency = SlotTable(LIMITS), LatencyModel(LATENCY)
    every = np.arange(len(rows))
    slots.tpot_ms[every] = [budget_ms for budget_ms, _ in rows]
    slots.computed[every] = [context for _, context in rows]
    tightest_ms = float(slots.tpot_ms[every].min())
    for iteration in range(1, 100):
        chosen = paced(slots, every, latency, iteration, prompts=prompts)
        waited = iteration - slots.last_planned[every]
        due = waited * tightest_ms / slots.tpot_ms[every] >= 1
        assert set(every[due]) <= set(chosen)
        costs_ms = LATENCY.decode_ms + LATENCY.kv_token_ms * (slots.computed[chosen] + 1)
        together_ms = LATENCY.iteration_ms + float(costs_ms.sum())
        one_budget = float(slots.tpot_ms[every].max()) == tightest_ms
        assert together_ms <= tightest_ms or one_budget or set(chosen) == set(every[due])
        slots.last_planned[chosen] = iteration
