from tierline.scheduling.batching.feeding import AHEAD_REQUESTS, Feed
from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits, EngineRequest

LIMITS = EngineLimits(64, 256, 512, 4, 1000)


def feed(prompt_tokens: int) -> Feed:
    feed = Feed(LIMITS)
    for _ in range(100):
        feed.submitted(prompt_tokens)
    return feed


def test_a_worker_that_knows_nothing_yet_asks_for_little() -> None:
    assert Feed(LIMITS).room(0, 0) == AHEAD_REQUESTS


def test_short_prompts_are_asked_for_by_the_batch() -> None:
    assert feed(16).room(0, 0) == 15
    assert feed(16).room(8, 128) == 7


def test_long_prompts_wait_at_the_gateway() -> None:
    assert [feed(250).room(waiting, waiting * 250) for waiting in (0, 1, 2, 3)] == [2, 1, 0, 0]


def test_slow_iterations_ask_for_less_and_recover() -> None:
    learned = feed(16)
    learned.planned(64, backlog_tokens=100)
    assert learned.room(0, 0) == 3
    learned.planned(0, backlog_tokens=0)
    assert learned.room(0, 0) == 3
    for _ in range(3):
        learned.planned(32, backlog_tokens=0)
    assert learned.room(0, 0) == 15


def test_no_more_is_promised_than_slots_are_free() -> None:
    core = SchedulerCore(EngineLimits(1, 256, 512, 4, 1000), LatencyModel(Coefficients(1, 0.01, 0, 0.01, 0)))
    assert core.headroom.grantable_requests == 1
    core.submit(EngineRequest("a", 10, 5))
    assert core.headroom.grantable_requests == 0


def test_running_requests_do_not_count_as_waiting() -> None:
    core = SchedulerCore(LIMITS, LatencyModel(Coefficients(1, 0.01, 0, 0.01, 0)))
    core.submit(EngineRequest("a", 250, 5))
    core.submit(EngineRequest("b", 250, 5))
    assert core.headroom.grantable_requests == 0
    core.plan(0.0)
    assert core.headroom.grantable_requests > 0
