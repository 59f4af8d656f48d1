import math

import pytest
from loads import H100_8B, SHAPE, worker

from tierline.fleet.scaling.capacity import RequestShape, highest_rate, latencies_at, work_ms
from tierline.scheduling.latency import BatchFeatures


def test_at_the_highest_rate_an_iteration_of_the_latency_model_takes_as_long_as_the_pace():
    """The balance behind the formula, put back into the model that it came from."""
    per_ms = highest_rate(worker(), SHAPE, 50.0) / 1e3
    decodes = per_ms * SHAPE.output_tokens * 50.0
    prompts = per_ms * 50.0
    features = BatchFeatures(
        prefill_tokens=prompts * SHAPE.prompt_tokens,
        attention_pairs=prompts * SHAPE.prompt_tokens**2 / 2,
        decodes=decodes,
        kv_read_tokens=decodes * (SHAPE.prompt_tokens + SHAPE.output_tokens / 2) + prompts * SHAPE.prompt_tokens,
    )
    assert H100_8B.predict_ms(features) == pytest.approx(50.0)


def test_a_tighter_pace_costs_capacity_and_one_below_an_empty_iteration_leaves_none():
    rates = [highest_rate(worker(), SHAPE, pace) for pace in (None, 100.0, 50.0, 20.0, 7.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0


def test_slots_and_kv_limit_the_rate_where_they_are_few():
    free = highest_rate(worker(), SHAPE, None)
    assert highest_rate(worker(max_running_requests=8), SHAPE, None) < 0.5 * free
    assert highest_rate(worker(kv_tokens=8000), SHAPE, None) < 0.5 * free


def test_prefill_and_decode_share_the_work_of_a_unified_worker():
    whole = work_ms(worker(), SHAPE)
    prefill, decode = (work_ms(worker(role), SHAPE) for role in ("Prefill", "Decode"))
    assert prefill + decode == pytest.approx(whole + H100_8B.iteration_ms)
    assert highest_rate(worker("Prefill"), SHAPE, 50.0) == highest_rate(worker("Prefill"), SHAPE, 10.0)


def test_more_workers_are_never_slower_and_more_load_never_faster():
    by_workers = [latencies_at(worker(), SHAPE, 20.0, workers, 0.95).ttft_ms for workers in (1, 2, 4, 8)]
    assert by_workers == sorted(by_workers, reverse=True)
    by_load = [latencies_at(worker(), SHAPE, rate, 2, 0.95).tpot_ms for rate in (0.0, 5.0, 20.0, 40.0, 1000.0)]
    assert by_load == sorted(by_load)
    assert math.isinf(by_load[-1])


def test_an_idle_worker_takes_the_time_of_the_prompt_alone():
    idle = latencies_at(worker(), RequestShape(1000, 10), 0.0, 1, 0.95)
    assert idle.tpot_ms == pytest.approx(H100_8B.iteration_ms)
    assert idle.ttft_ms == pytest.approx(H100_8B.iteration_ms + H100_8B.chunk_ms(1000, 0))
