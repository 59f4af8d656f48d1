"""How long a request may be passed over: by other tiers, and by its own tenant's more urgent ones."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import QueuedRequest

TARGET_MS = 100.0


def queued(request_id: str, priority: int, arrival_ms: float, **changes: object) -> QueuedRequest:
    fields: dict[str, object] = {
        "tenant": "a",
        "tier": f"t{priority}",
        "context_tokens": 10,
        "total_tokens": 10,
        "deadline_ms": arrival_ms + TARGET_MS,
        "expires_ms": 1e12,
        **changes,
    }
    return QueuedRequest(request_id=request_id, priority=priority, arrival_ms=arrival_ms, **fields)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    every=st.integers(1, 8),
    lower=st.lists(st.integers(0, 4), min_size=1, max_size=30),
    tenants=st.lists(st.sampled_from("abc"), min_size=30, max_size=30),
    fits_top=st.booleans(),
)
def test_a_late_request_starts_within_the_guards_bound(
    every: int, lower: list[int], tenants: list[str], fits_top: bool
) -> None:
    """(every + 1) * L * (ahead + 1) dispatches, under endless load of a higher tier, whether or not it has room."""
    queue = QueueManager(guard_every=every)
    for at, priority in enumerate(lower):
        queue.push(queued(f"l{at}", priority, 0.0, tenant=tenants[at]))
    priorities = len(set(lower))
    most_in_one = max(lower.count(priority) for priority in lower)
    bound = (every + 1) * priorities * most_in_one
    waiting = {f"l{at}" for at in range(len(lower))}
    for dispatch in range(bound):
        queue.push(queued(f"h{dispatch}", 9, 0.0, deadline_ms=1e9))
        best = queue.next(TARGET_MS, lambda request: fits_top or request.priority < 9)
        assert best is not None
        queue.take(best)
        waiting.discard(best.request_id)
        if not waiting:
            return
    raise AssertionError(f"{waiting} were passed over {bound} times")


@settings(max_examples=60, deadline=None)
@given(every=st.integers(1, 8), rounds=st.integers(20, 80))
def test_lower_tiers_never_take_more_than_their_share(every: int, rounds: int) -> None:
    queue = QueueManager(guard_every=every)
    for at in range(rounds):
        queue.push(queued(f"l{at}", at % 3, 0.0))
        queue.push(queued(f"h{at}", 9, 0.0))
    below = 0
    for dispatched in range(1, rounds + 1):
        best = queue.next(TARGET_MS, lambda _: True)
        assert best is not None
        queue.take(best)
        below += best.priority < 9
        assert below <= dispatched / (every + 1)


@given(st.lists(st.tuples(st.floats(0, 1000), st.integers(-2, 2)), min_size=2, max_size=20))
def test_user_priority_passes_nobody_who_waited_long_enough(requests: list[tuple[float, int]]) -> None:
    """Of one tenant and tier, k steps more pass only those that came less than k targets before."""
    queue = QueueManager()
    for at, (arrival_ms, user_priority) in enumerate(requests):
        queue.push(queued(f"r{at}", 1, arrival_ms, user_priority=user_priority))
    order = []
    while (best := queue.next(0.0, lambda _: True)) is not None:
        queue.take(best)
        order.append(best)
    for first, later in ((one, two) for at, one in enumerate(order) for two in order[at + 1 :]):
        steps = first.user_priority - later.user_priority
        assert first.arrival_ms <= later.arrival_ms + steps * TARGET_MS + 1e-6
