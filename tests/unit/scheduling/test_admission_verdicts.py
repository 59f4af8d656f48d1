import pytest

from tierline.scheduling.admission.controller import RUSH_MS, AdmissionController, Outlook, ServiceRate, Verdict
from tierline.scheduling.admission.quota import Ask, QuotaLimits, TenantUsage, TokenBucket
from tierline.scheduling.routing.choice import Obstacle


def usage(**limits: int) -> TenantUsage:
    return TenantUsage(QuotaLimits(**limits))


def test_a_bucket_refills_evenly_and_says_how_long() -> None:
    bucket = TokenBucket(60.0)
    bucket.spend(60, 0.0)
    assert bucket.wait_ms(1, 0.0) == 1000
    assert bucket.wait_ms(1, 500.0) == 500
    assert bucket.wait_ms(1, 1000.0) == 0


def test_a_bucket_goes_into_debt_that_is_waited_out() -> None:
    bucket = TokenBucket(60.0)
    bucket.spend(90, 0.0)
    assert bucket.wait_ms(1, 0.0) == pytest.approx(31_000)


def test_a_prompt_over_the_whole_quota_waits_for_a_full_bucket_not_for_ever() -> None:
    assert TokenBucket(60.0).wait_ms(1000, 0.0) == 0


def test_a_bucket_never_holds_more_than_a_minute() -> None:
    bucket = TokenBucket(60.0)
    bucket.spend(60, 3_600_000.0)
    assert bucket.wait_ms(60, 3_600_000.0) == 60_000


def test_changed_limits_keep_what_was_used() -> None:
    tenant = usage(requests_per_minute=10)
    for _ in range(10):
        tenant.begin(Ask(1), 0.0)
    tenant.adopt(QuotaLimits(requests_per_minute=12))
    assert tenant.breach(Ask(1), 0.0) is None
    tenant.begin(Ask(1), 0.0)
    tenant.begin(Ask(1), 0.0)
    breach = tenant.breach(Ask(1), 0.0)
    assert breach is not None
    assert (breach.limit, breach.allowed) == ("limits.requestsPerMinute", 12)
    tenant.adopt(QuotaLimits())
    assert tenant.breach(Ask(1), 0.0) is None


def test_concurrency_is_freed_at_the_end() -> None:
    tenant = usage(max_concurrent_requests=1)
    tenant.begin(Ask(1), 0.0)
    breach = tenant.breach(Ask(1), 0.0)
    assert breach is not None
    assert breach.limit == "limits.maxConcurrentRequests"
    tenant.end(Ask(1), 0.0)
    assert tenant.breach(Ask(1), 0.0) is None


def test_generated_tokens_count() -> None:
    tenant = usage(tokens_per_minute=60)
    tenant.begin(Ask(10), 0.0)
    tenant.generated(110, 0.0)
    breach = tenant.breach(Ask(10), 0.0)
    assert breach is not None
    assert breach.retry_after_ms == pytest.approx(70_000)


def test_a_cold_start_accepts() -> None:
    unknown = Outlook(ServiceRate().predicted_wait_ms(100), patience_ms=1.0)
    assert AdmissionController(ServiceRate()).decide(usage(), Ask(10), unknown, now_ms=0.0).accepted


def test_a_wait_over_the_bound_is_refused_with_the_time_to_come_back() -> None:
    rate = ServiceRate()
    for at_ms in (0.0, 200.0, 400.0):
        rate.served(at_ms)
    outlook = Outlook(rate.predicted_wait_ms(10), patience_ms=500.0, first_token_ms=50.0)
    decision = AdmissionController(rate).decide(usage(), Ask(10), outlook, now_ms=400.0)
    assert decision.verdict is Verdict.SATURATED
    assert (decision.retry_after_ms, decision.eta_ms) == (1500, 2050)


@pytest.mark.parametrize(
    ("obstacle", "verdict", "words"),
    [(Obstacle.PACE, Verdict.PACE, "time per token"), (Obstacle.MEMORY, Verdict.MEMORY, "KV cache")],
)
def test_a_refusal_says_what_every_worker_lacks(obstacle: Obstacle, verdict: Verdict, words: str) -> None:
    outlook = Outlook(900.0, 500.0, obstacle=obstacle)
    decision = AdmissionController(ServiceRate()).decide(usage(), Ask(10), outlook, now_ms=0.0)
    assert decision.verdict is verdict
    assert decision.verdict.saturation
    assert words in decision.reason


def test_pauses_of_an_empty_queue_do_not_slow_the_rate() -> None:
    rate = ServiceRate()
    rate.served(0.0)
    rate.served(100.0)
    rate.drained()
    rate.served(60_000.0)
    rate.served(60_100.0)
    assert rate.interval_ms == 100


def test_a_long_pause_with_a_backlog_is_soon_forgiven() -> None:
    rate = ServiceRate()
    for at_ms in (0, 20, 40, 60):
        rate.served(at_ms)
    rate.served(60_060)
    assert rate.predicted_wait_ms(1) < 200
    for at_ms in range(60_080, 61_080, 20):
        rate.served(at_ms)
    assert rate.predicted_wait_ms(1) == pytest.approx(20, abs=2)


def test_a_pause_at_the_very_beginning_is_not_taken_for_the_speed() -> None:
    rate = ServiceRate()
    for at_ms in (0, 60_000, 60_020):
        rate.served(at_ms)
    assert rate.predicted_wait_ms(1) == 20


def test_a_fleet_that_is_always_slow_is_known_as_slow() -> None:
    rate = ServiceRate()
    for at_ms in range(0, 30_000, 3_000):
        rate.served(at_ms)
    assert rate.predicted_wait_ms(2) == 6_000


def test_quota_comes_before_saturation() -> None:
    rate = ServiceRate()
    rate.interval_ms = 1e6
    decision = AdmissionController(rate).decide(usage(max_concurrent_requests=0), Ask(10), Outlook(1e7, 0.0), 0.0)
    assert decision.verdict is Verdict.QUOTA


def test_overdue_tells_full_from_missing_workers() -> None:
    controller = AdmissionController(ServiceRate())
    assert controller.overdue(capacity_exists=False, waited_ms=5.0, again_ms=0).verdict is Verdict.NO_CAPACITY
    assert controller.overdue(capacity_exists=True, waited_ms=5.0, again_ms=0).verdict is Verdict.SATURATED


def test_higher_priorities_that_keep_coming_make_the_wait_behind_others_longer() -> None:
    rate = ServiceRate()
    for number in range(200):
        rate.served(10.0 * number, priority=100 if number % 2 else 50)
    assert rate.predicted_wait_ms(10, priority=100) == pytest.approx(100.0)
    assert rate.predicted_wait_ms(10, priority=50) == pytest.approx(200.0, rel=0.05)
    assert rate.predicted_wait_ms(10, priority=10) == pytest.approx(100.0 / 0.05, rel=0.05)


def test_a_rush_of_higher_priorities_is_not_believed_to_last_for_ever() -> None:
    rate = ServiceRate()
    for number in range(200):
        rate.served(10.0 * number, priority=100)
    assert rate.predicted_wait_ms(10_000, priority=10) == pytest.approx(100_000 + RUSH_MS)
