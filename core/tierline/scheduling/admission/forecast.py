"""When the first token of a request that arrives now would come, from what is before it and what the devices can do.

    limit_w = max(budget / (1 + margin), step_w * stretch)       how long an iteration of worker w may take
    share_w = 1 - step_w / limit_w                               the part of its time that goes to prompts
    start   = (sum backlog_w + prompts ahead) / sum share_w      prompts before it, over all workers
    own     = its uncached prompt / share_w  +  limit_w          on the worker where that is least, one iteration begun;
                                                                 what does not fit into one iteration counts four times:
                                                                 half of it goes to those behind, and two such prompts
                                                                 share; and its last iteration is not full

`step_w` is an iteration in which all that run there decode, those ahead and the request itself among them: nobody is
believed to end meanwhile, so the forecast errs towards late. The budget is the tightest per token of who is there and
of the request, as the batch planner has it. Times of prompts are the latency model's by (1 + margin). Judging requests
by a predicted first token at arrival is Mooncake's (FAST 2025); that those before it become decodes which slow the rest
is what SLOs-Serve (arXiv 2504.08784) plans with.

Inputs: the workers' views, the request, what goes before it. Bounds: never below 0; None while no accepting worker has
told its latency. When not to use it: for requests that wait for a place or blocks and not for their prompt to be
computed; how fast those become free the queue's own rate tells (`admission.ServiceRate`).
"""

from collections.abc import Iterable
from math import inf

import msgspec

from tierline.scheduling.batching.planner import INFEASIBLE_STRETCH, LONG_PROMPT_SHARE
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.queueing.queued import Ahead
from tierline.scheduling.routing.choice import Need, WorkerView, step_ms


class Forecast(msgspec.Struct, frozen=True):
    """Until a worker begins with the prompt; from there to the first token; the same for a long prompt of its tier."""

    start_ms: float
    own_ms: float
    long_own_ms: float


def forecast(workers: Iterable[WorkerView], need: Need, ahead: Ahead, long_tokens: int) -> Forecast | None:
    """Return what a request with `ahead` before it would meet; None while no worker says how fast it is.

    `long_tokens` is the length of a prompt that is long for its tier.
    """
    known = [(worker, worker.latency) for worker in workers if worker.accepting and worker.latency is not None]
    if not known:
        return None
    paces = [_pace(worker, latency, need, ahead, len(known)) for worker, latency in known]
    work_ms = sum(latency.chunk_ms(worker.backlog_tokens, 0) * (1 + worker.margin) for worker, latency in known)
    work_ms += min(_prompts_ms(worker, latency, ahead) for worker, latency in known)
    own_ms = min(_own_ms(*one, *_lengths(one[0], need), pace) for one, pace in zip(known, paces, strict=True))
    long_own_ms = min(_own_ms(*one, long_tokens, 0, pace) for one, pace in zip(known, paces, strict=True))
    start_ms = work_ms / sum(pace.share for pace in paces)
    if work_ms:
        start_ms += min(pace.limit_ms for pace in paces)
    return Forecast(start_ms, own_ms, long_own_ms)


def answer_ms(workers: Iterable[WorkerView], tokens: float, tpot_budget_ms: float) -> float:
    """Return how long an answer of so many tokens takes from its first one; 0 while no worker says how fast it is.

    Where prompts wait, iterations are filled up with them as far as the budget per token allows.
    """
    paces = [
        max(step, min(tpot_budget_ms, worker.pace_budget_ms or inf)) if worker.backlog_tokens else step
        for worker in workers
        if worker.accepting and worker.latency is not None
        for step in [step_ms(worker, worker.latency, more_requests=1)]
    ]
    return tokens * min(paces, default=0.0)


class _Pace(msgspec.Struct, frozen=True):
    limit_ms: float
    share: float


def _pace(worker: WorkerView, latency: Coefficients, need: Need, ahead: Ahead, workers: int) -> _Pace:
    joining = 1 + round(ahead.requests / workers)
    kv_tokens = need.context_tokens + ahead.prompt_tokens / workers
    step = step_ms(worker, latency, more_requests=joining) + latency.kv_token_ms * kv_tokens
    budget_ms = min(need.tpot_budget_ms, worker.pace_budget_ms or inf)
    limit_ms = max(budget_ms / (1 + worker.margin), step * INFEASIBLE_STRETCH)
    return _Pace(limit_ms, 1 - step / limit_ms)


def _lengths(worker: WorkerView, need: Need) -> tuple[int, int]:
    missing = need.lacks_cache_tokens(worker.name)
    return missing, need.context_tokens - missing


def _own_ms(worker: WorkerView, latency: Coefficients, missing: int, cached: int, pace: _Pace) -> float:
    chunks_ms = latency.chunk_ms(missing, cached) * (1 + worker.margin)
    busy = worker.requests > 0
    begun_ms = pace.limit_ms if busy else latency.iteration_ms
    once_ms = min(begun_ms, chunks_ms + step_ms(worker, latency, more_requests=1))
    unfinished_ms = max(chunks_ms - pace.limit_ms * pace.share, 0.0) if busy else 0.0
    once_ms += pace.limit_ms if unfinished_ms else 0.0
    return (chunks_ms + unfinished_ms * (1 / LONG_PROMPT_SHARE**2 - 1)) / pace.share + once_ms


def _prompts_ms(worker: WorkerView, latency: Coefficients, ahead: Ahead) -> float:
    mean_tokens = int(ahead.prompt_tokens / ahead.requests) if ahead.requests else 0
    return ahead.requests * latency.chunk_ms(mean_tokens, 0) * (1 + worker.margin)
