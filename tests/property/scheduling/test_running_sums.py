"""Sums that are kept as requests come and go say what counting them anew would say."""

from collections.abc import Iterator
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from tierline.scheduling.admission.sent_prompts import SentPrompt, SentPrompts
from tierline.scheduling.routing.choice import WorkerView
from tierline.scheduling.routing.reservations import NOBODY, Reservation, Reservations, Rivals

WORKERS = [
    WorkerView(f"w{index}", True, 8, 1000, 16, 8192, 1000, backlog_tokens=backlog)
    for index, backlog in enumerate((0, 300, 100_000))
]
requests = st.integers(0, 5).map(lambda number: f"r{number}")
workers = st.sampled_from([worker.name for worker in WORKERS])
priorities = st.integers(0, 3)
steps = st.lists(st.tuples(requests, st.none() | st.tuples(workers, priorities, st.integers(1, 400))), max_size=40)


@given(steps, priorities)
def test_prompts_of_lower_priorities_are_no_backlog(
    steps: list[tuple[str, tuple[str, int, int] | None]], priority: int
) -> None:
    sent, there = SentPrompts(), dict[str, SentPrompt]()
    for request_id, dispatch in steps:
        if dispatch is None:
            assert sent.left(request_id) == there.pop(request_id, None)
        else:
            worker, rank, tokens = dispatch
            there[request_id] = SentPrompt(worker, rank, 0.0, tokens)
            sent.sent(request_id, there[request_id])
        passed = {
            worker.name: sum(p.tokens for p in there.values() if p.worker == worker.name and p.priority < priority)
            for worker in WORKERS
        }
        seen = {worker.name: worker.backlog_tokens for worker in sent.as_seen_by(priority, WORKERS)}
        assert seen == {worker.name: max(worker.backlog_tokens - passed[worker.name], 0) for worker in WORKERS}


@given(steps)
def test_rivals_are_all_that_run_there_with_at_least_the_priority(
    steps: list[tuple[str, tuple[str, int, int] | None]],
) -> None:
    reservations, there = Reservations(lambda _request_id: 0), dict[str, Reservation]()
    for request_id, dispatch in steps:
        if dispatch is None:
            there.pop(request_id, None)
            reservations.release(request_id)
        else:
            worker, rank, tokens = dispatch
            there[request_id] = Reservation(worker, "acme", rank, 10.0 * rank, tokens)
            reservations.make(request_id, there[request_id])
        for worker in WORKERS:
            for priority in range(4):
                expected = reduce(Rivals.joined, claims(there, worker.name, priority), NOBODY)
                assert reservations.rivals(worker.name, priority) == expected


def claims(there: dict[str, Reservation], worker: str, priority: int) -> Iterator[Rivals]:
    for claim in there.values():
        if claim.worker == worker and claim.priority >= priority:
            yield Rivals(1, claim.tokens, claim.tpot_budget_ms)
