import math

from loads import SHAPE, worker

from tierline.fleet.scaling.capacity import RequestShape
from tierline.fleet.scaling.feasibility import Promise, SizedPool, feasible, shortfalls

TTFT = Promise("chat", "TTFT", 0.95, 500.0)
TPOT = Promise("chat", "TPOT", 0.95, 30.0)


def judged(
    *promises: Promise, replicas: int = 4, per_second: float = 20.0, shape: RequestShape = SHAPE, role="Unified"
):
    return shortfalls(promises, [SizedPool(worker(role), replicas)], shape, per_second)


def test_promises_that_the_largest_size_keeps_are_feasible():
    assert judged(TTFT, TPOT) == ()
    assert feasible((), 4).holds is True


def test_a_load_beyond_the_largest_size_names_the_size_that_would_do():
    (found,) = judged(TPOT, replicas=2, per_second=100.0)
    assert math.isinf(found.predicted_ms)
    assert judged(TPOT, replicas=found.workers, per_second=100.0) == ()
    assert judged(TPOT, replicas=found.workers - 1, per_second=100.0)
    message = feasible((found,), 2).message
    assert f"{found.workers} workers would do" in message
    assert "Tier chat: TPOT p95 of 30 ms" in message


def test_a_target_that_no_size_reaches_names_the_nearest_one():
    """A prompt of 8,000 tokens takes longer than 100 ms on any number of workers."""
    promise = Promise("chat", "TTFT", 0.99, 100.0)
    (found,) = judged(promise, shape=RequestShape(8000, 100), per_second=1.0)
    assert found.workers == 0
    assert judged(Promise("chat", "TTFT", 0.99, found.nearest_ms), shape=RequestShape(8000, 100), per_second=1.0) == ()
    assert "no number of workers would do, or a target of" in feasible((found,), 4).message


def test_first_tokens_hang_on_prefill_workers_and_the_pace_on_decode_workers():
    pools = [SizedPool(worker("Prefill"), 1), SizedPool(worker("Decode"), 8)]
    failing = shortfalls((TTFT, TPOT), pools, SHAPE, 60.0)
    assert [it.promise.metric for it in failing] == ["TTFT"]
