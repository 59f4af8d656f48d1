import pytest
from placing import market

from tierline.fleet.placement.spot_history import HALF_LIFE_MS, MAX_MARKETS, PRIOR_PER_HOUR, SpotHistory

HOUR = 3_600_000
A, B, C = (market(zone) for zone in "abc")
ALL = (A, B, C)


def test_an_unknown_market_is_as_risky_as_the_prior():
    assert SpotHistory().record(A).interruptions_per_hour == pytest.approx(PRIOR_PER_HOUR)


def test_interruptions_raise_a_rate_and_quiet_hours_lower_it():
    history = SpotHistory().observed(HOUR, {A: 4, B: 4}, {})
    for hour in range(2, 12):
        history = history.observed(hour * HOUR, {A: 4, B: 4}, {A: 2})
    risky, calm = history.record(A).interruptions_per_hour, history.record(B).interruptions_per_hour
    assert risky == pytest.approx(0.4, rel=0.25)
    assert calm < PRIOR_PER_HOUR / 2


def test_what_happened_counts_half_after_a_half_life():
    history = SpotHistory().observed(HOUR, {A: 1}, {A: 8})
    later = history.observed(HOUR + HALF_LIFE_MS, {}, {})
    assert later.record(A).interruptions == pytest.approx(4)


def test_a_market_that_was_reclaimed_is_tried_last_until_it_gives_a_worker_again():
    history = SpotHistory().reclaimed(A, ALL)
    assert history.active(ALL, HOUR) == {B, C}
    assert history.succeeded(A).active(ALL, HOUR) == {A, B, C}


def test_with_fewer_than_two_active_markets_all_are_active_again():
    assert SpotHistory().reclaimed(A, ALL).reclaimed(B, ALL).active(ALL, HOUR) == {A, B, C}


def test_markets_of_another_accelerator_are_no_rivals():
    other = market("a", "h100")
    assert SpotHistory().reclaimed(A, (*ALL, other)).active((*ALL, other), HOUR) == {B, C, other}


def test_patience_doubles_with_each_failure_and_starts_anew_after_a_success():
    history = SpotHistory()
    waits = []
    for _ in range(7):
        waits.append(history.patience_ms(A) // 1000)
        history = history.failed(A, ALL, 0)
    assert waits == [120, 240, 480, 480, 480, 480, 480]
    assert history.succeeded(A).patience_ms(A) == 120_000


def test_only_so_many_markets_are_remembered_and_those_with_nodes_before_others():
    old = {market(f"old-{index}"): 1 for index in range(MAX_MARKETS)}
    history = SpotHistory().observed(HOUR, old, {}).observed(2 * HOUR, {A: 1}, {})
    assert len(history.records) == MAX_MARKETS
    assert A in history.records


def test_a_market_that_came_to_nothing_is_shunned_for_a_while_even_when_all_are_active_again():
    history = SpotHistory().failed(A, ALL, now_ms=0).reclaimed(B, ALL)
    assert history.active(ALL, 60_000) == {B, C}
    assert history.active(ALL, 120_000) == {A, B, C}
