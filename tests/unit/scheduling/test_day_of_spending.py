"""A day of money, here and at other gateways: what counts against a budget, and what is out of the day."""

from tierline.scheduling.admission.spending import HOUR_MS, HOURS, DayOfSpending

NOON_MS = 1_000 * HOUR_MS


def test_what_others_booked_and_set_aside_counts() -> None:
    day = DayOfSpending()
    day.spend(5, NOON_MS)
    day.hear({1_000: 7}, set_aside=2)
    day.set_aside = 1
    assert day.taken(NOON_MS) == 5 + 7 + 2 + 1


def test_what_is_older_than_a_day_is_out_of_it_here_and_elsewhere() -> None:
    day = DayOfSpending()
    day.spend(5, NOON_MS)
    day.hear({999: 7, 1_000: 1}, set_aside=0)
    assert day.taken(NOON_MS + HOURS * HOUR_MS) == 5 + 1
    assert day.taken(NOON_MS + (HOURS + 1) * HOUR_MS) == 0


def test_while_two_others_are_not_heard_of_each_is_taken_to_spend_as_much() -> None:
    day = DayOfSpending()
    day.spend(4, NOON_MS)
    day.told(day.news(), set_aside=0)
    day.miss(2)
    assert (day.taken(NOON_MS), day.weight) == (4, 3)
    day.spend(10, NOON_MS)
    assert day.taken(NOON_MS) == 14 + 2 * 10


def test_news_are_the_totals_that_nobody_was_told() -> None:
    day = DayOfSpending()
    day.spend(4, NOON_MS)
    day.spend(1, NOON_MS + HOUR_MS)
    assert day.news() == {1_000: 4, 1_001: 1}
    day.told(day.news(), set_aside=0)
    day.spend(2, NOON_MS + HOUR_MS)
    assert day.news() == {1_001: 3}
    day.lost()
    assert day.news() == {1_000: 4, 1_001: 3}


def test_the_wait_ends_when_enough_is_out_of_the_day_wherever_it_was_spent() -> None:
    day = DayOfSpending()
    day.spend(5, NOON_MS)
    day.hear({998: 3}, set_aside=0)
    assert day.wait_ms(3, NOON_MS) == (HOURS + 1 - 2) * HOUR_MS
    assert day.wait_ms(4, NOON_MS) == (HOURS + 1) * HOUR_MS
