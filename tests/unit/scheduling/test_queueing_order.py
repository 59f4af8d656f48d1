from msgspec.structs import replace

from tierline.scheduling.queueing.queue import TRIES, QueueManager
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.queueing.service_counters import UNMOVED_EXCHANGES, PeerService


def queued(request_id: str, **changes: object) -> QueuedRequest:
    base = QueuedRequest(
        request_id=request_id,
        tenant="a",
        tier="t",
        priority=10,
        context_tokens=100,
        total_tokens=100,
        arrival_ms=0.0,
        deadline_ms=1000.0,
        expires_ms=10_000.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def drain(queue: QueueManager, now_ms: float = 0.0) -> list[str]:
    order = []
    while (best := queue.next(now_ms, lambda _: True)) is not None:
        queue.take(best)
        order.append(best.request_id)
    return order


def filled(*requests: QueuedRequest, **options: int) -> QueueManager:
    queue = QueueManager(**options)
    for request in requests:
        queue.push(request)
    return queue


def test_streams_that_lost_their_worker_come_first() -> None:
    queue = filled(
        queued("new", deadline_ms=1.0),
        queued("moved", deadline_ms=500.0, resumed=True, tenant="b"),
        queued("above", priority=11),
        queued("moved-above", deadline_ms=900.0, priority=11, resumed=True),
    )
    assert drain(queue) == ["moved-above", "moved", "above", "new"]


def test_a_moved_stream_that_fits_nowhere_holds_only_its_own_priority_and_those_below() -> None:
    queue = filled(queued("moved", resumed=True), queued("beside"), queued("below", priority=1))
    assert queue.next(0.0, lambda request: not request.resumed) is None
    queue.push(queued("above", priority=11))
    served = queue.next(0.0, lambda request: not request.resumed)
    assert served is not None
    assert served.request_id == "above"


def test_then_priority() -> None:
    assert drain(filled(queued("lo", priority=1), queued("hi", priority=2))) == ["hi", "lo"]


def test_then_slack_to_the_deadline() -> None:
    queue = filled(
        queued("late", deadline_ms=900), queued("soon", deadline_ms=100, tenant="b"), queued("mid", deadline_ms=500)
    )
    assert drain(queue) == ["soon", "mid", "late"]


def test_a_tenant_over_its_difference_waits_for_the_others() -> None:
    greedy = [queued(f"g{at}", tenant="g", deadline_ms=at, service_difference_tokens=150) for at in range(4)]
    modest = [queued(f"m{at}", tenant="m", deadline_ms=500 + at) for at in range(2)]
    assert drain(filled(*greedy, *modest)) == ["g0", "g1", "m0", "g2", "m1", "g3"]


def test_weights_scale_the_charge() -> None:
    queue = filled(queued("a", tenant="a", weight=4), queued("b", tenant="b", weight=1))
    drain(queue)
    assert queue.counter("a") == 25
    assert queue.counter("b") == 100


def test_idling_earns_no_credit() -> None:
    queue = filled(queued("a0", tenant="a"), queued("a1", tenant="a"))
    queue.charge_output("a9", "a", 1000, 1)
    queue.push(queued("b", tenant="b"))
    assert queue.counter("b") == queue.counter("a") == 2000


def test_an_empty_queue_remembers_the_last_level() -> None:
    queue = filled(queued("a"))
    drain(queue)
    queue.push(queued("b", tenant="b"))
    assert queue.counter("b") == queue.counter("a") == 100


def test_a_refund_undoes_the_charge() -> None:
    queue = filled(queued("a"))
    request = queue.next(0.0, lambda _: True)
    assert request is not None
    queue.take(request)
    queue.refund(request)
    assert queue.counter("a") == 0


def test_an_answer_is_charged_in_advance_and_settled_by_what_it_became() -> None:
    """VTC with predictions: 100 tokens of prompt, 50 of answer expected; twice the weight for an answer's token."""
    queue = filled(queued("short", expected_output_tokens=50), queued("long", tenant="b", expected_output_tokens=50))
    drain(queue)
    assert queue.counter("a") == queue.counter("b") == 200
    queue.charge_output("short", "a", 30, 1)
    queue.charge_output("long", "b", 30, 1)
    assert queue.counter("a") == queue.counter("b") == 200
    queue.settle("short")
    queue.charge_output("long", "b", 40, 1)
    queue.settle("long")
    assert queue.counter("a") == 100 + 2 * 30
    assert queue.counter("b") == 100 + 2 * 70


def test_a_refused_start_gives_the_advance_back() -> None:
    queue = filled(queued("a", expected_output_tokens=50))
    request = queue.next(0.0, lambda _: True)
    assert request is not None
    queue.take(request)
    queue.refund(request)
    queue.settle("a")
    assert queue.counter("a") == 0


def test_resumed_streams_are_never_charged_again() -> None:
    queue = filled(queued("a", resumed=True))
    drain(queue)
    assert queue.counter("a") == 0


def test_one_that_does_not_fit_lets_others_pass_until_it_is_late() -> None:
    big, small = queued("big", deadline_ms=100, context_tokens=9000), queued("small", deadline_ms=200)
    queue = filled(big, small)

    def fits(request: QueuedRequest) -> bool:
        return request.context_tokens < 1000

    assert queue.next(50.0, fits) == small
    assert queue.next(100.0, fits) is None


def test_late_low_priorities_get_a_share() -> None:
    queue = filled(*(queued(f"h{at:02}", priority=2) for at in range(12)), queued("lo", priority=1), guard_every=4)
    order = drain(queue, now_ms=2000.0)
    assert order.index("lo") == 4


def test_low_priorities_that_are_not_late_wait() -> None:
    queue = filled(
        *(queued(f"h{at:02}", priority=2) for at in range(12)), queued("lo", priority=1, deadline_ms=9e9), guard_every=4
    )
    assert drain(queue, now_ms=2000.0)[-1] == "lo"


def test_expired_requests_are_named_and_removal_is_clean() -> None:
    queue = filled(queued("a", expires_ms=5.0), queued("b"))
    [old] = queue.expired(5.0)
    assert old.request_id == "a"
    assert queue.remove("a") == old
    assert queue.remove("a") is None
    assert "a" not in queue
    assert drain(queue) == ["b"]


def test_ahead_counts_this_priority_and_above() -> None:
    queue = filled(queued("a", priority=1), queued("b", priority=2), queued("c", priority=3))
    assert [queue.ahead_of(queued("new", priority=priority)).requests for priority in (1, 2, 3, 4)] == [3, 2, 1, 0]


def test_ahead_counts_only_what_is_due_before() -> None:
    queue = filled(queued("a", deadline_ms=100), queued("b", deadline_ms=300), queued("moved", resumed=True))
    assert queue.ahead_of(queued("new", deadline_ms=200)).requests == 2


def test_a_flood_is_ahead_of_others_only_as_far_as_its_share_goes() -> None:
    flood = [queued(f"f{at:03}", tenant="f", service_difference_tokens=300) for at in range(100)]
    queue = filled(*flood)
    assert queue.ahead_of(queued("new", tenant="f", arrival_ms=1.0)).requests == 100
    # One hundred tokens each: the flood may run 300 ahead, and 200 more while two of the other tenant are served.
    assert queue.ahead_of(queued("new", tenant="v")).requests == 3
    heavy = filled(*flood, *(queued(f"w{at}", tenant="w", weight=4) for at in range(2)))
    assert heavy.ahead_of(queued("w2", tenant="w", weight=4)).requests == 2 + 3.5
    queue.push(queued("v0", tenant="v"))
    queue.push(queued("v1", tenant="v"))
    assert queue.ahead_of(queued("v2", tenant="v")).requests == 2 + 5
    queue.charge_output("f999", "f", 150, 1)
    assert queue.ahead_of(queued("v2", tenant="v")).requests == 2 + 2


def test_a_tenant_pays_a_prompt_once_however_many_answers_it_wants() -> None:
    one = queued("one", context_tokens=500, expected_output_tokens=10)
    fork = queued("fork", context_tokens=500, expected_output_tokens=10, shares_prompt=True)
    assert fork.prepaid == one.prepaid
    assert fork.cost < one.cost - 490


def test_of_two_due_at_one_time_the_longer_prompt_starts_first() -> None:
    queue = filled(queued("short", prefill_ms=50), queued("long", prefill_ms=700, arrival_ms=1.0))
    assert drain(queue) == ["long", "short"]


def test_a_step_of_user_priority_is_worth_one_target_of_waiting() -> None:
    """The target is a second: two steps more pass a request that came up to two seconds before, and no older one."""
    old, older = queued("old", arrival_ms=500, deadline_ms=1500), queued("older", arrival_ms=0, deadline_ms=1000)
    urgent = queued("urgent", arrival_ms=2400, deadline_ms=3400, user_priority=2)
    assert drain(filled(old, older, urgent)) == ["older", "urgent", "old"]


def test_user_priority_does_not_move_a_tenant_before_others() -> None:
    queue = filled(
        queued("mine", user_priority=2), queued("yours", tenant="b", deadline_ms=900), queued("low", user_priority=-2)
    )
    assert drain(queue) == ["yours", "mine", "low"]


def test_a_look_at_a_long_queue_that_fits_nowhere_is_short() -> None:
    queue = filled(*(queued(f"r{at}", tenant=f"t{at}") for at in range(500)))
    asked: list[str] = []

    def fits(request: QueuedRequest) -> bool:
        asked.append(request.request_id)
        return False

    assert queue.next(0.0, fits) is None
    assert len(asked) == TRIES


def test_every_lower_priority_has_its_turn() -> None:
    """Three priorities under endless load of the top: each lower one gets one of each two turns of the guard."""
    lower = [queued(f"l{priority}-{at}", priority=priority) for priority in (1, 2) for at in range(3)]
    queue = filled(*(queued(f"h{at:02}", priority=3) for at in range(30)), *lower, guard_every=4)
    order = drain(queue, now_ms=2000.0)[:30]
    turns = [order.index(f"l{priority}-{at}") for at in range(3) for priority in (1, 2)]
    assert turns == [4, 9, 14, 19, 24, 29]


def test_a_tenant_that_had_more_yields_to_one_that_another_gateway_serves() -> None:
    queue = filled(queued("a"), queued("below", priority=1, tenant="c"))
    queue.counters.charge("a", 9000)
    served = 0.0
    for _ in range(3):
        served += 100
        queue.counters.adopt({"b": PeerService(served, (10,))})
        assert queue.next(0.0, lambda _: True) is None
    queue.counters.adopt({})
    assert drain(queue) == ["a", "below"]


def test_it_does_not_yield_to_one_that_nobody_serves() -> None:
    """What waits elsewhere and is given nothing there cannot use what would be left to it."""
    queue = filled(queued("a"))
    queue.counters.charge("a", 9000)
    for _ in range(UNMOVED_EXCHANGES + 1):
        queue.counters.adopt({"b": PeerService(100.0, (10,))})
    assert drain(queue) == ["a"]
