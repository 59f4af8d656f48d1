import numpy as np
from core_steps import core_of, request, step
from numpy.typing import NDArray

from tierline.scheduling.batching.pacing import paced
from tierline.scheduling.latency import COLD_MARGIN, Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits
from tierline.scheduling.slots import SlotTable

LATENCY = Coefficients(iteration_ms=4, prefill_token_ms=0.1, attention_pair_ms=0, decode_ms=1, kv_token_ms=0)
LIMITS = EngineLimits(
    total_blocks=64, block_tokens=16, max_running_requests=64, max_batched_tokens=128, max_model_tokens=1024
)


def table(*budgets_ms: float) -> tuple[SlotTable, NDArray[np.int64]]:
    slots = SlotTable(LIMITS)
    # Budgets are planned with a margin, which is that of a cold start here.
    slots.tpot_ms[: len(budgets_ms)] = np.array(budgets_ms) * (1 + COLD_MARGIN)
    return slots, np.arange(len(budgets_ms))


def schedule(slots: SlotTable, rows: NDArray[np.int64], iterations: int, *, prompts: bool = False) -> list[list[int]]:
    chosen = []
    for iteration in range(1, iterations + 1):
        now = paced(slots, rows, LatencyModel(LATENCY), iteration, prompts=prompts)
        slots.last_planned[now] = iteration
        chosen.append(now.tolist())
    return chosen


def test_loose_budgets_take_turns_beside_a_tight_one() -> None:
    """10.1 ms hold six rows of 1 ms beside the 4 ms of an iteration; ten rows may take 40 ms."""
    slots, rows = table(10.1, *[40.0] * 10)
    chosen = schedule(slots, rows, 40)
    assert all(0 in now and len(now) <= 6 for now in chosen)
    for slot in rows[1:].tolist():
        turns = [at for at, now in enumerate(chosen) if slot in now]
        assert max(np.diff([-1, *turns])) <= 4


def test_what_fits_is_not_paced() -> None:
    slots, rows = table(10.1, *[40.0] * 5)
    assert schedule(slots, rows, 1) == [rows.tolist()]


def test_prompts_that_wait_have_a_part_of_the_iteration() -> None:
    slots, rows = table(10.1, *[40.0] * 5)
    assert len(schedule(slots, rows, 1, prompts=True)[0]) == 4


def test_rows_of_one_budget_are_not_paced() -> None:
    slots, rows = table(*[10.0] * 60)
    assert schedule(slots, rows, 1) == [rows.tolist()]


def test_who_has_the_turn_and_finds_no_block_leaves_it_to_others() -> None:
    """A tight budget of low priority decodes first, but may take no block from the loose one above it."""
    core = core_of(total_blocks=4, block_tokens=4)
    core.submit(request("loose", 7, 9, priority=1, tpot_budget_ms=300.0))
    core.submit(request("tight", 7, 5, priority=0, tpot_budget_ms=1.0))
    for _ in range(60):
        if core.empty:
            break
        step(core)
    assert core.empty
