"""A request waits rather than break the pace or the memory of those that run."""

from msgspec.structs import replace

from tierline.scheduling.batching.planner import INFEASIBLE_STRETCH
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.routing.choice import Need, Obstacle, WorkerView, choose_worker, common_obstacle, obstacle
from tierline.scheduling.routing.reservations import NOBODY, Reservation, Reservations, Rivals

H100 = Coefficients(7.0, 0.0, 0.0, 0.1, 0.0)
WORKER = WorkerView(
    name="w0",
    accepting=True,
    credit_requests=4,
    credit_blocks=1000,
    block_tokens=16,
    max_model_tokens=8192,
    total_blocks=1000,
    outstanding_requests=100,
    reported_requests=100,
    latency=H100,
)
NEED = Need("r", context_tokens=100, total_tokens=4100, tpot_budget_ms=100.0, peak_tokens=320, holds_back=True)


def beside(requests: int, tokens: float = 0.0, tpot_budget_ms: float = 100.0, need: Need = NEED) -> Need:
    return replace(
        need, rivals_on=lambda worker: Rivals(requests, tokens, tpot_budget_ms) if worker == "w0" else NOBODY
    )


def test_one_more_stream_may_not_slow_the_others_below_their_pace() -> None:
    pace_ms = (7.0 + 101 * 0.1) * INFEASIBLE_STRETCH
    assert obstacle(WORKER, beside(100, tpot_budget_ms=pace_ms + 0.01)) is None
    assert obstacle(WORKER, beside(100, tpot_budget_ms=pace_ms - 0.01)) is Obstacle.PACE
    assert choose_worker([WORKER], beside(100, tpot_budget_ms=pace_ms - 0.01)) is None


def test_the_residual_of_the_model_is_planned_with() -> None:
    pace_ms = (7.0 + 101 * 0.1) * INFEASIBLE_STRETCH
    assert obstacle(replace(WORKER, margin=0.1), beside(100, tpot_budget_ms=pace_ms * 1.05)) is Obstacle.PACE


def test_nor_may_the_request_be_slower_than_its_own() -> None:
    assert obstacle(WORKER, beside(100, need=replace(NEED, tpot_budget_ms=20.0))) is Obstacle.PACE


def test_what_other_gateways_run_counts_too() -> None:
    crowded = replace(WORKER, reported_requests=500, pace_budget_ms=50.0)
    assert obstacle(crowded, beside(100)) is Obstacle.PACE


def test_who_yields_to_it_does_not_count() -> None:
    assert obstacle(WORKER, beside(0, need=replace(NEED, tpot_budget_ms=10.0))) is None


def test_a_pace_that_an_idle_worker_breaks_defends_nothing() -> None:
    assert obstacle(WORKER, beside(100, tpot_budget_ms=5.0)) is None


def test_the_likely_end_must_fit_and_not_the_longest_one() -> None:
    room = 1000 * 16 - 10 * 8 - 320
    assert obstacle(WORKER, beside(10, tokens=room)) is None
    full, fits = (
        replace(beside(10, tokens=room + 32), peak_on=lambda _, peak=peak: peak) for peak in (16_000.0, 12_000.0)
    )
    assert obstacle(WORKER, full) is Obstacle.MEMORY
    assert obstacle(WORKER, fits) is None, "their ends do not come at one time"


def test_the_peak_comes_when_one_of_them_ends() -> None:
    """Two hold 100 tokens; one will have 130, the other 200: when the first ends both have 130."""
    context = {"short": 164, "low": 4000}
    book = Reservations(context.__getitem__)
    book.make("short", Reservation("w0", "acme", 100, 50.0, 130.0, cached_tokens=64))
    book.make("low", Reservation("w0", "acme", 1, 50.0, 5000.0))
    assert book.peak_tokens("w0", 50, held=100.0, end=200.0) == 2 * (100 + 30)
    context["short"] += 40
    assert book.peak_tokens("w0", 50, held=100.0, end=200.0) == 140 + 100 + 2 * 16, "longer than expected"
    assert book.peak_tokens("w1", 50, held=100.0, end=200.0) == 200


def test_a_moved_stream_is_not_held_back() -> None:
    assert obstacle(WORKER, replace(beside(100, tpot_budget_ms=15.0), holds_back=False)) is None


def test_all_workers_must_object() -> None:
    idle = replace(WORKER, name="w1", outstanding_requests=0, reported_requests=0)
    need = beside(100, tpot_budget_ms=15.0)
    assert common_obstacle([WORKER], need) is Obstacle.PACE
    assert common_obstacle([WORKER, idle], need) is None
    assert choose_worker([WORKER, idle], need) == idle
    assert common_obstacle([], need) is None


def test_reservations_are_summed_by_worker_and_tenant_and_taken_back() -> None:
    book = Reservations(lambda _: 0)
    book.make("a", Reservation("w0", "acme", 100, 50.0, 300.0))
    book.make("b", Reservation("w0", "zeta", 10, 1000.0, 500.0))
    book.make("c", Reservation("w1", "acme", 100, 50.0, 700.0))
    assert book.rivals("w0", 50) == Rivals(1, 300.0, 50.0)
    assert book.rivals("w0", 10) == Rivals(2, 800.0, 50.0)
    assert book.of_tenant("acme").tokens == 1000.0
    book.make("a", Reservation("w1", "acme", 100, 50.0, 310.0))
    assert book.rivals("w0", 50).requests == 0
    for request_id in ("a", "b", "c", "unknown"):
        book.release(request_id)
    assert len(book) == 0
    assert book.of_tenant("acme").requests == book.rivals("w1", 0).requests == 0
