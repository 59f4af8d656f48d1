"""What the accounts say agrees with what the policies do."""

import pytest
from msgspec.structs import replace

from tierline.scheduling.latency import Coefficients
from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.queueing.standing import Cause, Standing, Turn, why_before
from tierline.scheduling.routing.choice import Need, WorkerView, choose_worker
from tierline.scheduling.routing.route_account import Route, candidates, rule

LATENCY = Coefficients(5.0, 0.1, 0.0, 1.0, 0.0)
IDLE = WorkerView("idle", True, 8, 1000, 16, 8192, 1000, latency=LATENCY)
NEED = Need("r", 100, 200, expected_tokens=150, tpot_budget_ms=50)


def route(*workers: WorkerView, need: Need = NEED, avoid: frozenset[str] = frozenset()) -> Route:
    chosen = choose_worker(workers, need, avoid)
    return Route(workers, need, avoid, chosen.name if chosen else "")


@pytest.mark.parametrize(
    ("others", "need", "avoid", "words"),
    [
        ([], NEED, frozenset(), "the only worker that could take it"),
        ([replace(IDLE, name="busy", backlog_tokens=9000)], NEED, frozenset(), "its first token comes soonest"),
        ([replace(IDLE, name="loaded", reported_requests=1)], NEED, frozenset(), "least loaded of those"),
        ([replace(IDLE, name="slow", reported_requests=90)], NEED, frozenset(), "keeps its time per token"),
        ([replace(IDLE, name="full", used_blocks=999)], NEED, frozenset(), "room for the whole answer"),
        ([replace(IDLE, name="mute", latency=None)], NEED, frozenset(), "figures can be believed"),
        ([replace(IDLE, name="other")], replace(NEED, near=frozenset({"idle"})), frozenset(), "another choice"),
        ([replace(IDLE, name="a", credit_requests=9)], NEED, frozenset({"a"}), "failed on the others"),
    ],
)
def test_the_rule_that_chose(others: list[WorkerView], need: Need, avoid: frozenset[str], words: str) -> None:
    made = route(IDLE, *others, need=need, avoid=avoid)
    assert made.chosen == "idle"
    assert words in rule(made)
    assert candidates(made)[0].name == "idle"


def test_why_nobody_was_chosen() -> None:
    full = replace(IDLE, credit_requests=0)
    short = replace(IDLE, name="short", max_model_tokens=50)
    made = route(full, short, replace(IDLE, name="narrow", credit_blocks=2))
    assert rule(made) == "no worker could take it"
    obstacles = {one.name: one.obstacle for one in candidates(made)}
    assert obstacles == {
        "idle": "grants no place",
        "short": "holds 50 tokens at most",
        "narrow": "grants 2 blocks only",
    }
    assert rule(route()) == "no worker accepts requests"


def queued(request_id: str, tenant: str = "a", priority: int = 1, deadline_ms: float = 100.0) -> QueuedRequest:
    return QueuedRequest(
        request_id, tenant, "t", priority, 100, 200, 0.0, deadline_ms, 1e9, service_difference_tokens=50
    )


def served(queue: QueueManager, now_ms: float = 0.0) -> Standing:
    request = queue.next(now_ms, lambda _: True)
    assert request is not None
    standing = queue.standing(request, now_ms)
    queue.take(request)
    return standing


def served_in_order(*requests: QueuedRequest) -> list[Standing]:
    queue = QueueManager()
    for request in requests:
        queue.push(request)
    return [served(queue) for _ in requests]


def test_a_standing_says_what_the_queue_saw() -> None:
    first, second = served_in_order(queued("x"), queued("y", "b", deadline_ms=200))
    assert (first.queued.request_id, first.turn, first.waiting, first.waiting_band) == ("x", Turn.ORDER, 2, 2)
    assert first.eligible
    assert first.slack_ms == 100
    assert (second.waiting, second.slack_ms) == (1, 200)


@pytest.mark.parametrize(
    ("requests", "cause"),
    [
        ((queued("x", priority=2), queued("y")), Cause.PRIORITY),
        ((queued("x"), queued("y", deadline_ms=200)), Cause.LINE),
        ((queued("x"), queued("y", "b", deadline_ms=200)), Cause.DEADLINE),
        ((replace(queued("x"), resumed=True), queued("y", priority=1)), Cause.MOVED),
        # After its first request tenant a is over its difference, so b goes before, though it is due later.
        ((queued("w"), queued("y", deadline_ms=150), queued("x", "b", deadline_ms=900)), Cause.SERVICE),
    ],
)
def test_why_one_went_before_the_other(requests: tuple[QueuedRequest, ...], cause: Cause) -> None:
    standings = {standing.queued.request_id: standing for standing in served_in_order(*requests)}
    assert standings["x"].now_ms <= standings["y"].now_ms
    assert why_before(standings["x"], standings["y"]) is cause
