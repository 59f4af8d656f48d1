"""What speculation gains where drafts are likely, and that it costs nothing where they are not, on virtual time.

The device is an 8B model on an H100; a draft token costs it half a millisecond at any load, a verified one what a
prompt's token costs. So alone a request gains by drafts, and among 256 it would lose by them.
"""

from collections.abc import Callable, Sequence
from zlib import crc32

import numpy as np

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits, EngineRequest
from tierline.sim.engine import Arrival, SimulatedEngine

H100_8B = Coefficients(7.0, 0.0189, 1.3e-6, 0.02, 5.6e-5, verified_token_ms=0.0189, drafted_token_ms=0.5)
LIMITS = EngineLimits(
    max_running_requests=256,
    max_batched_tokens=4096,
    max_model_tokens=4096,
    block_tokens=16,
    total_blocks=40_000,
    max_partial_prefills=4,
    max_draft_tokens=5,
)
PROMPT_TOKENS = 64


def chance(request_id: str, position: int) -> float:
    return crc32(f"{request_id}/{position}".encode()) / 2**32


def tokens_per_second(
    rates: Sequence[float],
    output_tokens: int,
    *,
    speculate: bool = True,
    fixed: int | None = None,
    truth: Coefficients = H100_8B,
    rate_at: Callable[[float, int], float] = lambda rate, _position: rate,
) -> float:
    """Return the rate of a batch with a request for each acceptance rate; `fixed` drafts so many in every row."""
    core = SchedulerCore(LIMITS, LatencyModel(H100_8B))
    if fixed is not None:
        assert core.drafting is not None
        slots = core.slots
        core.drafting.choose = lambda decodes, _left, _turns: (  # type: ignore[method-assign]
            np.minimum(slots.max_total[decodes] - slots.known[decodes] - 1, fixed),
            0,
        )
    of = {f"r{number}": rate for number, rate in enumerate(rates)}
    engine = SimulatedEngine(core, truth, lambda name, position: chance(name, position) < rate_at(of[name], position))
    requests = [EngineRequest(name, PROMPT_TOKENS, output_tokens, speculate=speculate) for name in of]
    engine.replay([Arrival(0.0, request) for request in requests])
    # While all are there: afterwards it is another batch.
    until_ms = min(moments[-1] for moments in engine.token_ms.values())
    tokens = sum(int(np.searchsorted(moments, until_ms, side="right")) for moments in engine.token_ms.values())
    return 1e3 * tokens / until_ms


def test_a_predictable_text_is_generated_faster(record_effect) -> None:
    """Two requests, 85 % acceptance, a draft model."""
    rates = [0.85, 0.85]
    ratio = tokens_per_second(rates, 1200) / tokens_per_second(rates, 1200, speculate=False)
    record_effect("speculation_speedup", value=ratio, threshold=2.0, unit="x tokens/s without, two requests")


def test_drafts_that_are_never_right_cost_next_to_nothing(record_effect) -> None:
    """The switch and the exploration pay for themselves in every batch, also where acceptance is a lie for a while."""
    ratios = []
    for requests, output in ((1, 1200), (16, 600), (256, 150)):
        rates = [0.02] * requests
        ratios.append(tokens_per_second(rates, output) / tokens_per_second(rates, output, speculate=False))
    record_effect("speculation_adversary", value=min(ratios), threshold=0.97, unit="x tokens/s without, worst batch")


def test_among_many_likely_drafts_are_not_made_where_they_cost_more_than_they_give(record_effect) -> None:
    rates = [0.85] * 256
    ratio = tokens_per_second(rates, 150) / tokens_per_second(rates, 150, speculate=False)
    record_effect("speculation_high_load", value=ratio, threshold=0.97, unit="x tokens/s without, 256 requests")


def test_no_fixed_length_does_as_well_at_every_load(record_effect) -> None:
    """Batches of 1 to 128, requests of 30 to 95 % acceptance: at each load nearly what the best fixed length has."""
    kept, lost = [], {1: [], 3: [], 5: []}
    for requests, output in ((1, 1000), (4, 600), (16, 400), (128, 150)):
        rates = np.linspace(0.95, 0.3, requests).tolist()
        dynamic = tokens_per_second(rates, output)
        fixed = {length: tokens_per_second(rates, output, fixed=length) for length in lost}
        plain = tokens_per_second(rates, output, speculate=False)
        kept.append(dynamic / max(plain, *fixed.values()))
        for length, rate in fixed.items():
            lost[length].append(rate / dynamic)
    record_effect("speculation_adaptive", value=min(kept), threshold=0.95, unit="x tokens/s of the best fixed length")
    for length, ratios in lost.items():
        assert min(ratios) < 0.9, f"a fixed length of {length} is as good at every load: {ratios}"


class _HiddenCost(Coefficients):
    """Drafts cost a constant, however few they are."""

    def predict_ms(self, features) -> float:
        return super().predict_ms(features) + (4.0 if features.verified_tokens else 0.0)


def test_a_latency_model_that_does_not_see_the_cost_is_overruled_by_measuring(record_effect) -> None:
    """Any draft makes an iteration half as long again, which no feature explains; drafts seem to be nearly free."""
    truth = _HiddenCost(*H100_8B)
    rates = [0.3] * 8
    ratio = tokens_per_second(rates, 2500, truth=truth) / tokens_per_second(rates, 2500, speculate=False)
    record_effect("speculation_switch_off", value=ratio, threshold=0.95, unit="x tokens/s without, hidden cost")


def test_a_text_that_turns_predictable_is_caught(record_effect) -> None:
    """The first half is never accepted, the second at 90 %: at least three quarters of what one gains who knows."""

    def later(rate: float, position: int) -> float:
        return rate if position > PROMPT_TOKENS + 600 else 0.0

    plain = tokens_per_second([0.9], 1200, speculate=False)
    gained = tokens_per_second([0.9], 1200, rate_at=later) / plain
    known = 1200 / (600 + 600 / (tokens_per_second([0.9], 1200) / plain))
    record_effect("speculation_recovery", value=gained / known, threshold=0.9, unit="x tokens/s of who knows it before")
