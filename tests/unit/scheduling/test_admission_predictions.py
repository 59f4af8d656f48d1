"""Who is refused for a prediction, and who must not be."""

import dataclasses

import pytest
from msgspec.structs import replace
from toy_gateways import WORKER as PLACE

from tierline.api.policy import TierPolicy
from tierline.scheduling.admission.controller import Decision, Verdict
from tierline.scheduling.admission.predictions import Prediction, cold, judged_by, learned
from tierline.scheduling.admission.quota import Ask, QuotaLimits, TenantUsage
from tierline.scheduling.desk import Arriving, RequestDesk
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.routing.choice import WorkerView

TIER = TierPolicy("interactive", 100, 2500, 400, None, 95, "Reject", 10_000, None, preemptible=False)
BATCH = dataclasses.replace(TIER, name="batch", priority=10, ttft_deadline_ms=20_000)
# 4 ms a token of a prompt, 50 ms an iteration: a small model on two cores.
DEVICE = Coefficients(50.0, 4.0, 0.0, 5.0, 0.0)
WORKER = WorkerView(PLACE.name, True, 16, 1000, 16, 2048, 1000, latency=DEVICE)
CALM = Prediction(0.0, 300.0, 300.0)


def request(name: str, tier: TierPolicy = TIER, tokens: int = 50, *, resumed: bool = False) -> QueuedRequest:
    return QueuedRequest(
        name,
        "acme",
        tier.name,
        tier.priority,
        tokens,
        tokens + 20,
        0.0,
        float(tier.ttft_deadline_ms),
        1e9,
        tpot_budget_ms=tier.tpot_budget_ms,
        resumed=resumed,
    )


def decided(desk: RequestDesk, workers: list[WorkerView], tokens: int = 50) -> Decision:
    usage, queued = TenantUsage(QuotaLimits()), request("new", tokens=tokens)
    return desk.decide(Arriving(Ask(tokens), usage, lambda: TIER, lambda: queued, lambda: None), workers, 0.0)


def served(desk: RequestDesk, name: str, tier: TierPolicy, took_ms: float, *, resumed: bool = False) -> None:
    desk.enqueue(request(name, tier, resumed=resumed))
    list(desk.dispatch(0.0, lambda _: PLACE))
    desk.first_token(name, took_ms)
    desk.ended(name, "acme", tier.name, 20, complete=True)


def test_the_prediction_that_leaves_less_time_counts() -> None:
    late = Prediction(1000.0, 2000.0, 300.0)
    judged = judged_by([CALM, late], TIER, 250.0, is_cold=False)
    assert (judged.prediction, judged.patience_ms) == (late, 500.0)


def test_one_predictions_wait_is_not_added_to_the_others_first_token() -> None:
    """1.4 s of prompts lie on the worker, as they did before those that took 1.5 s: that makes no 2.9 s."""
    seen = Prediction(1400.0, 400.0, 0.0)
    judged = judged_by([learned(0.0, 1500.0, 0.0, seen.wait_ms), seen], TIER, 250.0, is_cold=False)
    assert judged.spare_ms == pytest.approx(2500 - 1800)


def test_a_guess_refuses_nobody() -> None:
    """Two workers that warmed up while everything else started believe in a tenth of their speed."""
    slow = Coefficients(*(10 * value for value in DEVICE))
    guessing = [replace(WORKER, latency=slow, backlog_tokens=100, outstanding_requests=2, measured=False)] * 2
    assert cold(guessing)
    assert decided(RequestDesk(lambda _: 50), guessing).verdict is Verdict.ACCEPT
    measured = [replace(worker, measured=True) for worker in guessing]
    assert decided(RequestDesk(lambda _: 50), measured).verdict is Verdict.SATURATED


def test_one_worker_that_has_measured_itself_is_enough_to_judge_by() -> None:
    assert not cold([WORKER, replace(WORKER, measured=False)])
    assert not cold([replace(WORKER, latency=None)])
    assert cold([replace(WORKER, accepting=False), replace(WORKER, measured=False)])


def test_what_low_priorities_waited_on_a_worker_is_not_expected_of_higher_ones() -> None:
    desk = RequestDesk(lambda _: 50)
    for number in range(20):
        served(desk, f"b{number}", BATCH, 7000.0)
    assert decided(desk, [replace(WORKER, backlog_tokens=50, outstanding_requests=1)]).verdict is Verdict.ACCEPT
    for number in range(20):
        served(desk, f"i{number}", TIER, 7000.0)
    assert decided(desk, [replace(WORKER, backlog_tokens=50, outstanding_requests=1)]).verdict is Verdict.SATURATED


def test_moved_streams_of_lower_priority_are_passed_on_the_worker_too() -> None:
    """Four long streams came from a node that is gone, and are computed again here: 8 s of prompts."""
    desk = RequestDesk(lambda _: 50)
    for number in range(4):
        desk.enqueue(request(f"b{number}", BATCH, tokens=500, resumed=True))
    assert len(list(desk.dispatch(0.0, lambda _: PLACE))) == 4
    crowded = replace(WORKER, backlog_tokens=2000, outstanding_requests=4)
    assert decided(desk, [crowded]).verdict is Verdict.ACCEPT
    assert decided(RequestDesk(lambda _: 50), [crowded]).verdict is Verdict.SATURATED


def test_a_moved_streams_next_token_teaches_nothing_of_first_ones() -> None:
    desk = RequestDesk(lambda _: 50)
    for number in range(20):
        served(desk, f"i{number}", TIER, 7000.0, resumed=True)
    assert desk.first_tokens.of(TIER.priority).predict_ms(50, 250.0) == 250.0
