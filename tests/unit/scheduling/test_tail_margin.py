"""The margin's rank is that of split conformal prediction, and it is forgotten with its window."""

import numpy as np
import pytest

from tierline.scheduling.tail_margin import LEAST_RESIDUALS, MAX_MARGIN, WINDOW, TailMargin


def margin_of(residuals) -> float:
    margin = TailMargin()
    for residual in residuals:
        margin.add(residual)
    return margin.above(0.25)


def test_nothing_is_said_of_a_tail_before_there_is_one():
    assert margin_of([0.0] * (LEAST_RESIDUALS - 1)) == 0.25
    assert margin_of([0.0] * LEAST_RESIDUALS) == 0.0


def test_of_less_than_a_hundred_the_largest_counts_and_of_a_full_window_the_second():
    residuals = np.linspace(0.0, 0.2, 98)
    assert margin_of(residuals) == pytest.approx(0.2 / 0.8)
    assert margin_of(np.linspace(0.0, 0.255, WINDOW)) == pytest.approx(0.254 / 0.746)


def test_a_residual_is_forgotten_when_the_window_has_passed():
    early = [0.3] * 5 + [0.1] * (WINDOW - 5)
    assert margin_of(early) == pytest.approx(0.3 / 0.7)
    assert margin_of(early + [0.1] * 5) == pytest.approx(0.1 / 0.9)


def test_it_stays_within_its_bounds():
    assert margin_of([0.99] * WINDOW) == pytest.approx(MAX_MARGIN)
    assert margin_of([-0.5] * WINDOW) == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_the_next_iteration_keeps_it_in_99_percent_of_cases_whatever_the_distribution(seed):
    rng = np.random.default_rng(seed)
    elapsed = np.exp(rng.normal(0, 0.05, 6000)) * np.where(rng.random(6000) < 0.03, rng.uniform(1.1, 1.4, 6000), 1.0)
    margin, broken = TailMargin(), 0
    for index, factor in enumerate(elapsed):
        broken += index >= WINDOW and factor > 1 + margin.above(0.0)
        margin.add(1 - 1 / factor)
    assert broken / (len(elapsed) - WINDOW) <= 0.011
