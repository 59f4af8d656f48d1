"""What is remembered of decisions stays within its bounds."""

from msgspec.structs import replace

from tierline.scheduling.routing.choice import Need, WorkerView
from tierline.scheduling.routing.route_account import Route
from tierline_gateway.streams.decisions import Decisions
from tierline_gateway.streams.explain_log import ExplainLog

VIEW = WorkerView("w", True, 1, 100, 16, 4096, 1000)


def decisions(workers: int) -> Decisions:
    views = tuple(replace(VIEW, name=f"w{at}") for at in range(workers))
    return Decisions("gold", tried=Route(views, Need("r", 1, 2), frozenset(), ""))


def test_the_oldest_are_forgotten_by_number() -> None:
    log = ExplainLog(most_records=3)
    for at in range(10):
        log.add(f"r{at}", decisions(1))
    assert len(log) == 3
    assert log.get("r6") is None
    assert log.get("r7") is not None


def test_and_by_what_they_take() -> None:
    log = ExplainLog(most_bytes=100_000)
    for at in range(50):
        log.add(f"r{at}", decisions(100))
        assert log.bytes_about <= 100_000 or len(log) == 1
    assert 1 <= len(log) < 3
    log.add("huge", decisions(10_000))
    assert len(log) == 1
    assert log.get("huge") is not None


def test_an_id_that_comes_again_replaces_its_record() -> None:
    log = ExplainLog()
    for workers in (5, 1):
        log.add("r", decisions(workers))
    assert len(log) == 1
    assert log.bytes_about == decisions(1).bytes_about
