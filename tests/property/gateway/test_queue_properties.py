"""The queue serves whenever it can, everyone in the end, and tenants within their bound."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.queueing.tenant_lines import LOOKAHEAD

BOUND = 300

REQUESTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(1, 200), st.integers(0, 1000), st.booleans()),
    max_size=40,
)


def build(index: int, fields: tuple[str, int, int, int, bool]) -> QueuedRequest:
    tenant, priority, tokens, deadline, resumed = fields
    return QueuedRequest(
        request_id=f"r{index}",
        tenant=tenant,
        tier="t",
        priority=priority,
        context_tokens=tokens,
        total_tokens=tokens,
        arrival_ms=float(index),
        deadline_ms=float(deadline),
        expires_ms=1e9,
        service_difference_tokens=BOUND,
        resumed=resumed,
    )


@given(requests=REQUESTS, now=st.integers(0, 1000), capacity=st.integers(1, 200))
def test_it_serves_unless_a_late_request_holds_the_line(requests: list, now: int, capacity: int) -> None:
    queue = QueueManager()
    for index, fields in enumerate(requests):
        queue.push(build(index, fields))
    best = queue.next(now, lambda request: request.context_tokens <= capacity)
    waiting = list(queue.waiting())
    if best is not None:
        assert best.context_tokens <= capacity
    elif any(request.context_tokens <= capacity for request in waiting):
        assert any(request.context_tokens > capacity for request in waiting)
        unfit = [request for request in waiting if request.context_tokens > capacity]
        late = [request for request in unfit if request.resumed or request.deadline_ms <= now]
        lines = Counter((request.tenant, request.priority) for request in waiting)
        hidden = max(lines.values()) > LOOKAHEAD
        assert late or hidden


@settings(max_examples=60)
@given(requests=REQUESTS)
def test_everyone_is_served_once(requests: list) -> None:
    queue = QueueManager()
    for index, fields in enumerate(requests):
        queue.push(build(index, fields))
    served = []
    while (best := queue.next(500.0, lambda _: True)) is not None:
        queue.take(best)
        served.append(best.request_id)
    assert sorted(served) == sorted(f"r{index}" for index in range(len(requests)))
    assert not len(queue)


@settings(max_examples=60)
@given(sizes=st.lists(st.integers(1, 100), min_size=60, max_size=60), eager=st.integers(0, 2))
def test_backlogged_tenants_stay_within_their_bound(sizes: list[int], eager: int) -> None:
    queue = QueueManager()
    for index, tokens in enumerate(sizes):
        tenant = "abc"[index % 3]
        deadline = 0 if index % 3 == eager else 1000
        queue.push(build(index, (tenant, 1, tokens, deadline, False)))
    while (best := queue.next(0.0, lambda _: True)) is not None:
        queue.take(best)
        backlogged = {request.tenant for request in queue.waiting()}
        if len(backlogged) == 3:
            counters = [queue.counter(tenant) for tenant in "abc"]
            assert max(counters) - min(counters) <= BOUND + 100


@given(high_per_round=st.integers(1, 4))
def test_low_priorities_do_not_starve_under_endless_load(high_per_round: int) -> None:
    queue = QueueManager()
    queue.push(build(9999, ("a", 0, 10, 0, False)))
    for at in range(100):
        for extra in range(high_per_round):
            queue.push(build(at * 10 + extra, ("b", 2, 10, 0, False)))
        best = queue.next(1000.0, lambda _: True)
        assert best is not None
        queue.take(best)
        if best.request_id == "r9999":
            return
    raise AssertionError("the low priority was never served")
