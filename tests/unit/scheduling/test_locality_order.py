from msgspec.structs import replace

from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.routing.locality import CHUNK_TOKENS, PrefixMap, chunk_keys

BASE = QueuedRequest("", "a", "t", 1, 1000, 1100, 0.0, 1000.0, 1e9, quantum_tokens=1000)


def drain(queue: QueueManager) -> list[str]:
    order = []
    while (best := queue.next(0.0, lambda _: True)) is not None:
        queue.take(best)
        order.append(best.request_id)
    return order


def test_cached_prefixes_go_first_while_deficits_last() -> None:
    """The paper's example: a quantum of 1,000; one tenant's prompts are cached but for 250 tokens, the other's are not.

    Four cached ones use up the quantum, then it is the other's turn.
    """
    queue = QueueManager(cached=lambda request: 750 if request.tenant == "hit" else 0)
    for at in range(6):
        queue.push(replace(BASE, request_id=f"h{at}", tenant="hit", arrival_ms=1.0 + at))
    for at in range(2):
        queue.push(replace(BASE, request_id=f"m{at}", tenant="miss", arrival_ms=float(at)))
    assert drain(queue) == ["h0", "h1", "h2", "h3", "m0", "h4", "h5", "m1"]
    assert queue.counter("hit") == 6 * 250
    assert queue.counter("miss") == 2000


def test_a_request_without_a_match_is_passed_only_by_those_soon_after_it() -> None:
    queue = QueueManager(cached=lambda request: 100 if request.request_id.startswith("hit") else 0)
    queue.push(replace(BASE, request_id="old", arrival_ms=0.0, deadline_ms=1000.0))
    queue.push(replace(BASE, request_id="hit-soon", arrival_ms=2000.0, deadline_ms=3000.0))
    queue.push(replace(BASE, request_id="hit-late", arrival_ms=3000.0, deadline_ms=4000.0))
    assert drain(queue) == ["hit-soon", "old", "hit-late"]


def test_tiers_that_ignore_locality_pay_the_whole_prompt_and_keep_their_order() -> None:
    queue = QueueManager(cached=lambda _: 900)
    queue.push(replace(BASE, request_id="one", quantum_tokens=0))
    assert drain(queue) == ["one"]
    assert queue.counter("a") == 1000


def test_what_any_worker_holds_is_found_until_all_forgot_it() -> None:
    known = PrefixMap()
    keys = chunk_keys(range(4 * CHUNK_TOKENS), "ns")
    known.sent("w1", keys[:3], 100 * CHUNK_TOKENS)
    known.sent("w2", keys, 2 * CHUNK_TOKENS)
    assert known.cached_anywhere(keys) == 3 * CHUNK_TOKENS
    known.forget("w1")
    assert known.cached_anywhere(keys) == 2 * CHUNK_TOKENS
    known.forget("w2")
    assert known.cached_anywhere(keys) == 0
