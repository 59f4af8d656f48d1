"""The limit of an iteration's tokens after one that did not fit: half at once, back in small steps."""

import numpy as np

from tierline.scheduling.batching.shedding import CALM_ITERATIONS, TokenLimit
from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import BatchPlan, EngineLimits, EngineRequest, IterationResult
from tierline.scheduling.snapshot import rebuild, take_snapshot

LIMITS = EngineLimits(4, 512, 4096, 16, 512)
FITS, DOES_NOT = False, True


def calm(limit: TokenLimit, iterations: int) -> None:
    for _ in range(iterations):
        limit.committed(10, FITS)


def test_it_halves_what_did_not_fit_and_grows_by_an_eighth_of_the_most_when_all_is_calm():
    limit = TokenLimit(LIMITS)
    limit.committed(400, DOES_NOT)
    assert limit.tokens == 200
    limit.committed(200, DOES_NOT)
    assert limit.tokens == 100
    calm(limit, CALM_ITERATIONS - 1)
    assert limit.tokens == 100
    calm(limit, 1)
    assert limit.tokens == 164
    calm(limit, 6 * CALM_ITERATIONS)
    assert limit.tokens == 512


def test_it_never_falls_below_a_token_for_each_running_request():
    limit = TokenLimit(LIMITS)
    for _ in range(20):
        limit.committed(limit.tokens, DOES_NOT)
    assert limit.tokens == 4


def test_one_that_does_not_fit_starts_the_wait_anew():
    limit = TokenLimit(LIMITS)
    limit.committed(400, DOES_NOT)
    calm(limit, CALM_ITERATIONS - 1)
    limit.committed(100, DOES_NOT)
    calm(limit, CALM_ITERATIONS - 1)
    assert limit.tokens == 50


def core() -> SchedulerCore:
    made = SchedulerCore(LIMITS, LatencyModel(Coefficients(7.0, 0.02, 1e-6, 0.02, 5e-5)))
    made.submit(EngineRequest("long", 3000, 8))
    return made


def step(made: SchedulerCore, out_of_memory: bool) -> BatchPlan:
    plan = made.plan(0.0)
    assert plan is not None
    made.commit(IterationResult(plan.iteration, np.zeros(len(plan.slots), np.bool_), 10.0, out_of_memory=out_of_memory))
    return plan


def test_the_next_chunk_is_half_of_the_one_that_did_not_fit():
    made = core()
    assert step(made, DOES_NOT).tokens == 512
    assert step(made, FITS).tokens == 256
    assert step(made, DOES_NOT).tokens == 256
    assert step(made, FITS).tokens == 128


def test_a_core_rebuilt_from_its_snapshot_has_the_limit():
    made = core()
    step(made, DOES_NOT)
    step(made, FITS)
    again = rebuild(take_snapshot(made), made.latency)
    assert (again.token_limit.tokens, again.token_limit.calm_iterations) == (256, 1)
