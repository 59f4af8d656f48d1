import pytest

from tierline.scheduling.queueing.group_order import Instance, RequestGroup, group_order, next_group
from tierline.scheduling.queueing.waiting_time import SAFE, Moments, Throughput, WorkAhead, predicted_wait_ms

INSTANCE = Instance("a", swap_ms=10_000)


def group(name: str, model: str, deadline_s: float, work_s: float = 5.0) -> RequestGroup:
    return RequestGroup(name, model, deadline_s * 1000, work_s * 1000)


def test_the_wait_is_the_work_ahead_over_the_throughput() -> None:
    """QLM's sum: a hundred answers of 200 +- 100 tokens and ten of 1,000, at 2 tokens a millisecond."""
    ahead = [WorkAhead(100, 200, 100), WorkAhead(10, 1000)]
    assert predicted_wait_ms(ahead, 2.0) == 15_000
    assert predicted_wait_ms(ahead, 2.0, z=SAFE, swaps_ms=500) == pytest.approx(15_500 + SAFE * 1000 / 2)


def test_a_cold_start_tells_no_wait() -> None:
    assert predicted_wait_ms([WorkAhead(100, 200)], Throughput().per_ms) == 0


def test_moments_are_those_of_what_ended() -> None:
    moments = Moments(fading=1.0)
    assert moments.ahead(3, unknown=50) == WorkAhead(3, 50)
    for work in (100, 300):
        moments.learn(work)
    assert moments.ahead(2, unknown=50) == WorkAhead(2, 200, 100)


def test_bursts_do_not_move_the_throughput_and_pauses_do_not_count() -> None:
    throughput = Throughput()
    for burst in range(100):
        for at in range(10):
            throughput.served(1.0, burst * 1000.0 + at)
    assert throughput.per_ms == pytest.approx(0.01, rel=0.1)
    throughput.drained()
    throughput.served(1.0, 10_000_000.0)
    assert throughput.per_ms == pytest.approx(0.01, rel=0.1)


def test_the_loaded_model_goes_on_while_slack_allows() -> None:
    """Forty seconds leave room for 5 s here, a change of 10 s and 5 s there; eighteen do not."""
    here = group("here", "a", 3600)
    assert next_group([here, group("there", "b", 40)], INSTANCE, 0.0) is here
    assert next_group([here, group("there", "b", 18)], INSTANCE, 0.0).name == "there"


def test_what_is_late_delays_nobody_else() -> None:
    order = group_order([group("late", "a", 1), group("soon", "a", 6), group("next", "a", 11)], INSTANCE, 0.0)
    assert [each.name for each in order] == ["soon", "next", "late"]
