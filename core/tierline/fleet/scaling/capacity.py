"""What a worker carries, from the latency model: iteration time under load, the highest rate, latencies at a rate.

    W = P + d*O + e*O*(S + O/2)                      work of a request with S prompt and O output tokens, in ms
    P = b*S + c*S*S/2 + e*S*(n + 1)/2                of its prompt in n chunks, each of which reads what precedes it
    t = a / (1 - r*W)                                iteration time at r requests per ms
    r(T) = (1 - a/T) / W                             highest rate at a pace of T ms per token
    r(B) = B / (O*a + B*W)                           highest rate with B running requests (slots, or KV that holds them)

Follows from the latency model by one balance: in a steady state each iteration computes r*t prompts and r*t*O decodes.
A prefill worker has only P, a decode worker only the other two terms of W. A request waits as in a queue of N
workers (Sakasegawa 1977): W/(N*(1-u)) * ln(u**(sqrt(2(N+1))-1) / (1-p)) at percentile p and utilisation u.

Inputs: coefficients, mean lengths, sizes of the engine. Bounds: rates are at least 0; at full load times are infinite.
When not to use it: lengths whose spread is much larger than their mean; the measured pressure corrects that.
"""

import math
from dataclasses import dataclass

from tierline.api.serving import Role
from tierline.scheduling.latency import Coefficients


@dataclass(frozen=True, slots=True)
class RequestShape:
    """Mean lengths of requests, in tokens."""

    prompt_tokens: float
    output_tokens: float


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """What a worker is: its phase, the latency model's coefficients, and the sizes of its engine.

    `margin` is how far above the model 95 % of iterations stay, as a share.
    """

    role: Role
    coefficients: Coefficients
    max_running_requests: int
    max_batched_tokens: int
    kv_tokens: int
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Latencies:
    """Predicted times; infinite where the load cannot be carried."""

    ttft_ms: float
    tpot_ms: float


def work_ms(worker: WorkerShape, shape: RequestShape) -> float:
    """Return the device time that a request costs beside its share of whole iterations."""
    c, prompt, output = worker.coefficients, shape.prompt_tokens, shape.output_tokens
    prefill = _chunks_ms(worker, shape)
    decode = c.decode_ms * output + c.kv_token_ms * output * (prompt + output / 2)
    if worker.role == "Prefill":
        return prefill + c.iteration_ms * _chunks(worker, shape)
    return decode if worker.role == "Decode" else prefill + decode


def highest_rate(worker: WorkerShape, shape: RequestShape, tpot_ms: float | None) -> float:
    """Return how many requests a second one worker carries at full load, within a pace if one is given."""
    work = max(work_ms(worker, shape), 1e-9)
    if worker.role == "Prefill":
        return 1e3 / work
    iteration_ms = worker.coefficients.iteration_ms
    pace_ms = math.inf if tpot_ms is None else tpot_ms / (1 + worker.margin)
    by_pace = max(1 - iteration_ms / pace_ms, 0.0) / work
    running = _running_limit(worker, shape)
    by_room = running / (max(shape.output_tokens, 1) * iteration_ms + running * work)
    return 1e3 * min(by_pace, by_room)


def latencies_at(
    worker: WorkerShape, shape: RequestShape, per_second: float, workers: int, percentile: float
) -> Latencies:
    """Return what `workers` workers give the slowest but (1 - percentile) requests at a rate for all of them."""
    work, each = work_ms(worker, shape), per_second / max(workers, 1) / 1e3
    load = each / (highest_rate(worker, shape, None) / 1e3) if per_second else 0.0
    if load >= 1 or workers < 1:
        return Latencies(math.inf, math.inf)
    spread = 1 + worker.margin * max(percentile - 0.5, 0.0) / 0.45
    idle = 1 - each * work
    tpot_ms = spread * worker.coefficients.iteration_ms / idle if idle > 0 else math.inf
    return Latencies(spread * _prompt_ms(worker, shape, tpot_ms) + _wait_ms(work, load, workers, percentile), tpot_ms)


def _prompt_ms(worker: WorkerShape, shape: RequestShape, tpot_ms: float) -> float:
    return _chunks_ms(worker, shape) + tpot_ms * _chunks(worker, shape)


def _chunks_ms(worker: WorkerShape, shape: RequestShape) -> float:
    """Return what a prompt's chunks take beside the iterations that they are in."""
    c, prompt = worker.coefficients, shape.prompt_tokens
    read = prompt * (_chunks(worker, shape) + 1) / 2
    return c.prefill_token_ms * prompt + c.attention_pair_ms * prompt**2 / 2 + c.kv_token_ms * read


def _wait_ms(work: float, load: float, workers: int, percentile: float) -> float:
    waiting_share = load ** (math.sqrt(2 * (workers + 1)) - 1)
    if waiting_share <= 1 - percentile:
        return 0.0
    return work / (workers * (1 - load)) * math.log(waiting_share / (1 - percentile))


def _chunks(worker: WorkerShape, shape: RequestShape) -> int:
    return max(math.ceil(shape.prompt_tokens / worker.max_batched_tokens), 1)


def _running_limit(worker: WorkerShape, shape: RequestShape) -> float:
    return min(worker.max_running_requests, worker.kv_tokens / max(shape.prompt_tokens + shape.output_tokens / 2, 1))
