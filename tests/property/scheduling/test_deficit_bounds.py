"""DLPM: whatever is cached, counters of tenants that wait differ by at most the quantum and one request."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import QueuedRequest

MOST_TOKENS = 300


@settings(max_examples=60, deadline=None)
@given(
    requests=st.lists(st.tuples(st.integers(1, MOST_TOKENS), st.floats(0, 1)), min_size=45, max_size=45),
    quantum=st.integers(1, 2000),
    lucky=st.sampled_from("abc"),
)
def test_counters_stay_within_quantum_and_one_request(
    requests: list[tuple[int, float]], quantum: int, lucky: str
) -> None:
    share = {f"r{at}": cached for at, (_, cached) in enumerate(requests)}

    def cached(request: QueuedRequest) -> int:
        return int(request.context_tokens * share[request.request_id]) if request.tenant == lucky else 0

    queue = QueueManager(cached=cached)
    for at, (tokens, _) in enumerate(requests):
        tenant = "abc"[at % 3]
        queue.push(
            QueuedRequest(
                request_id=f"r{at}",
                tenant=tenant,
                tier="t",
                priority=1,
                context_tokens=tokens,
                total_tokens=tokens,
                arrival_ms=at,
                deadline_ms=1000.0 + at,
                expires_ms=1e9,
                service_difference_tokens=10**9,
                quantum_tokens=quantum,
            )
        )
    while len({request.tenant for request in queue.waiting()}) == 3:
        best = queue.next(0.0, lambda _: True)
        assert best is not None
        queue.take(best)
        counters = [queue.counter(tenant) for tenant in "abc"]
        assert max(counters) - min(counters) <= quantum + MOST_TOKENS + 1e-6
