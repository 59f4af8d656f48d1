"""A worker on virtual time: what it tells does not hang on how anything is hashed."""

from tierline.scheduling.batching.planner import BatchPlanner
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.plans import EngineLimits, EngineRequest
from tierline.sim.worker import SimulatedWorker

LIMITS = EngineLimits(
    max_running_requests=16, max_batched_tokens=512, max_model_tokens=256, block_tokens=16, total_blocks=256
)


def test_answers_that_end_together_are_told_in_the_order_of_their_tokens() -> None:
    worker = SimulatedWorker("w", LIMITS, Coefficients(7.0, 0.02, 1e-6, 0.02, 5e-5), BatchPlanner)
    names = [f"request-{number}" for number in range(12)]
    for name in names:
        assert worker.submit(EngineRequest(name, 8, 64), missing_tokens=1) is None
    assert worker.begin(0.0) is not None
    worker.finish()
    [told] = worker.tell()
    assert told.ended == told.request_ids == tuple(names)
