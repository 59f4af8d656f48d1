"""What computing a shared prefix once gains, on virtual time.

The device is an 8B model on an H100. Requests come as a Poisson stream; each begins with one of a few system prompts
and goes on with a question of its own, as assistants and agents do. The engine is the same with its cache on and off.
"""

from dataclasses import replace

import numpy as np

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits, EngineRequest
from tierline.sim.engine import Arrival, SimulatedEngine

H100_8B = Coefficients(7.0, 0.0189, 1.3e-6, 0.02, 5.6e-5)
LIMITS = EngineLimits(
    max_running_requests=128,
    max_batched_tokens=8192,
    max_model_tokens=8192,
    block_tokens=16,
    total_blocks=4_000,
    max_partial_prefills=4,
    prefix_caching=True,
)
SYSTEM_PROMPTS, SYSTEM_TOKENS = 8, 1536
ANSWER_TOKENS = 96


def assistants(per_second: float, requests: int, seed: int) -> list[Arrival]:
    random = np.random.default_rng(seed)
    moments = np.cumsum(random.exponential(1e3 / per_second, requests))
    return [Arrival(float(at_ms), _request(index, random)) for index, at_ms in enumerate(moments)]


def _request(index: int, random: np.random.Generator) -> EngineRequest:
    system, question = int(random.integers(SYSTEM_PROMPTS)), int(random.integers(64, 384))
    shared = SYSTEM_TOKENS // LIMITS.block_tokens
    own = (SYSTEM_TOKENS + question) // LIMITS.block_tokens - shared
    keys = [b"s%d.%d" % (system, block) for block in range(shared)] + [
        b"r%d.%d" % (index, block) for block in range(own)
    ]
    return EngineRequest(f"r{index}", SYSTEM_TOKENS + question, ANSWER_TOKENS, block_keys=tuple(keys))


def run(arrivals: list[Arrival], limits: EngineLimits) -> tuple[SimulatedEngine, SchedulerCore, float]:
    core = SchedulerCore(limits, LatencyModel(H100_8B))
    engine = SimulatedEngine(core, H100_8B)
    return engine, core, engine.replay(arrivals)


def first_token_p50_ms(engine: SimulatedEngine, arrivals: list[Arrival]) -> float:
    return float(np.median([engine.token_ms[each.request.request_id][0] - each.at_ms for each in arrivals]))


def test_a_shared_prefix_is_computed_once(record_effect) -> None:
    arrivals = assistants(per_second=20, requests=120, seed=41)
    cached, core, _ = run(arrivals, LIMITS)
    computed, _, _ = run(arrivals, replace(LIMITS, prefix_caching=False))
    counters = core.counters
    hit_rate = counters.prefix_hit_tokens / counters.prefix_query_tokens
    record_effect("prefix_hit_rate", value=100 * hit_rate, threshold=80, unit="%")
    ratio = first_token_p50_ms(computed, arrivals) / first_token_p50_ms(cached, arrivals)
    record_effect("prefix_ttft", value=ratio, threshold=5.0, unit="x")


def test_a_saturated_engine_serves_more_with_shared_prefixes(record_effect) -> None:
    arrivals = assistants(per_second=1000, requests=120, seed=42)
    _, _, cached_ms = run(arrivals, LIMITS)
    _, _, computed_ms = run(arrivals, replace(LIMITS, prefix_caching=False))
    record_effect(
        "prefix_saturated_throughput",
        value=computed_ms / cached_ms,
        threshold=2.0,
        unit="x",
    )
