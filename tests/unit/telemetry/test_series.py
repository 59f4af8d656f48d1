"""Curves that plots draw."""

from tierline.telemetry.records import Outcome, RequestRecord
from tierline.telemetry.series import cdf, queued, running, service

ONE = RequestRecord("r", "a", "t", 5, 10, 3, Outcome.OK, (7, 8, 9))


def test_cdf_ends_at_one() -> None:
    assert cdf([3, 1]).x == (1, 3)
    assert cdf([3, 1]).y == (0.5, 1)


def test_a_request_is_queued_then_running() -> None:
    assert queued([ONE]).x == (0, 5, 7)
    assert queued([ONE]).y == (0, 1, 0)
    assert running([ONE]).x == (0, 7, 9)


def test_service_accumulates_by_weight() -> None:
    assert service([ONE], "a", 2).y == (0, 5, 6, 7, 8)
