from math import inf

import pytest
from msgspec.structs import replace

from tierline.scheduling.admission.forecast import forecast
from tierline.scheduling.admission.prompt_lengths import PromptLengths, room_ms
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.queueing.queued import Ahead
from tierline.scheduling.routing.choice import Need, WorkerView

# A prompt's token takes 0.1 ms, an iteration 10 ms and no more for those that decode.
DEVICE = Coefficients(10.0, 0.1, 0.0, 0.0, 0.0)
IDLE = WorkerView("w0", True, 4, 1000, 16, 8192, 1000, latency=DEVICE)
BUSY = replace(IDLE, outstanding_requests=8, reported_requests=8)
NEED = Need("r", context_tokens=200, total_tokens=400, tpot_budget_ms=50.0)
NOTHING = Ahead(0, 0)


def test_an_idle_worker_starts_at_once_and_takes_what_the_prompt_takes() -> None:
    seen = forecast([IDLE], replace(NEED, tpot_budget_ms=inf), NOTHING, 0)
    assert seen is not None
    assert (seen.start_ms, seen.own_ms) == (0.0, 10.0 + 20.0)


def test_prompts_get_what_the_pace_leaves_of_each_iteration() -> None:
    """50 ms a token, 10 of them for decodes: four fifths of the time are for prompts, and one iteration has begun."""
    seen = forecast([BUSY], NEED, Ahead(4, 800), 0)
    assert seen is not None
    assert seen.start_ms == pytest.approx(80 / 0.8 + 50)
    assert seen.own_ms == pytest.approx(20 / 0.8 + 30)


def test_workers_share_what_is_ahead() -> None:
    alone, together = (forecast(workers, NEED, Ahead(4, 800), 0) for workers in ([BUSY], [BUSY, BUSY]))
    assert alone is not None
    assert together is not None
    assert together.start_ms == pytest.approx((alone.start_ms - 50) / 2 + 50)


def test_what_is_cached_takes_no_time() -> None:
    cached = forecast([BUSY], replace(NEED, cached_tokens={"w0": 150}), NOTHING, 0)
    whole = forecast([BUSY], NEED, NOTHING, 0)
    assert cached is not None
    assert whole is not None
    assert cached.own_ms < whole.own_ms


def test_the_residual_makes_everything_later() -> None:
    sure = forecast([BUSY], NEED, Ahead(4, 800), 100)
    unsure = forecast([replace(BUSY, margin=0.2)], NEED, Ahead(4, 800), 100)
    assert sure is not None
    assert unsure is not None
    assert unsure.start_ms > 1.2 * (sure.start_ms - 50)
    assert unsure.long_own_ms > sure.long_own_ms


def test_who_tells_nothing_or_takes_nothing_is_left_out() -> None:
    assert forecast([replace(IDLE, latency=None), replace(IDLE, accepting=False)], NEED, NOTHING, 0) is None


def test_short_prompts_leave_the_room_of_long_ones() -> None:
    lengths = PromptLengths()
    for _ in range(20):
        for tokens in (100,) * 18 + (2000, 2000):
            lengths.arrived("t", tokens)
    assert lengths.long("t") == 2000
    assert lengths.long("other") == 0
    assert room_ms(1000, 100, 400) == 600
    assert room_ms(1000, 700, 400) == 300, "a longer one leaves what it needs itself"
    assert room_ms(1000, 100, 900) == 600, "most of the deadline is for waiting"
