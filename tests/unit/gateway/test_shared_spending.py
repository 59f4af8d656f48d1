"""What other gateways spent: summed, taken over from those that ended, dropped when it is out of the day."""

from tierline.scheduling.admission.spending import HOUR_MS, HOURS, DayOfSpending
from tierline_gateway.shared.spending import SharedSpending
from tierline_gateway.shared.store import Shared, Spent

HOUR = 1_000
NOW_MS = HOUR * HOUR_MS


def shared(*spent: Spent, version: int = 1) -> Shared:
    return Shared("born", {}, {}, spent, version)


def test_totals_of_all_others_are_summed_and_a_newer_total_takes_the_place_of_the_older() -> None:
    day, spending = DayOfSpending(), SharedSpending()
    spending.track("acme", day)
    spending.answered((), {}, shared(Spent("b", "acme", HOUR, 4), Spent("ended", "acme", HOUR, 2)), NOW_MS)
    assert day.taken(NOW_MS) == 6
    spending.answered((), {}, shared(Spent("b", "acme", HOUR, 9), version=2), NOW_MS)
    assert (day.taken(NOW_MS), spending.version) == (11, 2)


def test_rows_that_are_out_of_the_day_are_dropped() -> None:
    day, spending = DayOfSpending(), SharedSpending()
    spending.track("acme", day)
    spending.answered((), {}, shared(Spent("b", "acme", HOUR, 4)), NOW_MS)
    later_ms = NOW_MS + (HOURS + 1) * HOUR_MS
    spending.answered((), {}, shared(version=2), later_ms)
    assert day.taken(NOW_MS) == 0, "even at the time at which it still counted"


def test_a_store_that_lost_its_memory_is_told_everything_again() -> None:
    day, spending = DayOfSpending(), SharedSpending()
    spending.track("acme", day)
    day.spend(5, NOW_MS)
    told = spending.news("a")
    spending.answered(told, {}, shared(), NOW_MS)
    assert spending.news("a") == ()
    spending.lost()
    assert spending.news("a") == told == (Spent("a", "acme", HOUR, 5),)
    assert spending.version == 0
