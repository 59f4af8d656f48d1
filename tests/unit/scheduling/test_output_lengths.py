import pytest

from tierline.scheduling.admission.lengths import OutputLengthPredictor


def taught(*lengths: int, tenant: str = "a", tier: str = "t", times: int = 1) -> OutputLengthPredictor:
    predictor = OutputLengthPredictor()
    for _ in range(times):
        for length in lengths:
            predictor.learn(tenant, tier, length)
    return predictor


def test_nothing_known_means_a_chat_answer_within_the_limit() -> None:
    predictor = OutputLengthPredictor()
    assert 150 < predictor.expected("a", "t", 10_000) < 450
    assert predictor.expected("a", "t", 16) <= 16


def test_it_learns_a_tenant_that_answers_shortly() -> None:
    predictor = taught(20, times=500)
    assert predictor.expected("a", "t", 4096) == pytest.approx(20, rel=0.4)
    assert predictor.quantile("a", "t", 0.9, 4096) < 30


def test_two_kinds_of_answers_show_in_the_quantiles() -> None:
    predictor = taught(10, 10, 10, 1000, times=200)
    assert predictor.quantile("a", "t", 0.5, 4096) < 15
    assert predictor.quantile("a", "t", 0.9, 4096) > 800


def test_an_answer_that_outgrew_the_short_ones_is_a_long_one() -> None:
    predictor = taught(10, 10, 10, 1000, times=200)
    assert predictor.expected("a", "t", 4096, generated_tokens=50) > 700


def test_a_new_tenant_borrows_from_its_tier() -> None:
    predictor = taught(1000, times=300)
    assert predictor.expected("newcomer", "t", 4096) > 700
    assert predictor.expected("newcomer", "other-tier", 4096) < 450


def test_it_follows_a_tenant_that_changes() -> None:
    predictor = taught(1000, times=1000)
    for _ in range(2000):
        predictor.learn("a", "t", 30)
    assert predictor.quantile("a", "t", 0.9, 4096) < 60


def test_ten_thousand_tenants_cost_no_more_than_the_limit() -> None:
    predictor = OutputLengthPredictor(max_histories=100)
    for number in range(10_000):
        predictor.learn(f"tenant-{number}", "t", 100)
    predictor.learn("tenant-9999", "t", 100)
    assert predictor.histories <= 101


@pytest.mark.parametrize("length", [0, -5])
def test_an_empty_answer_teaches_nothing(length: int) -> None:
    assert taught(length).expected("a", "t", 4096) == OutputLengthPredictor().expected("a", "t", 4096)
