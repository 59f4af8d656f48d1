"""What keeping a victim's KV gains over computing it again, and what the batching modes cost and give, on virtual time.

The device is an 8B model on an H100, with the page times of a PCIe bus at 50 GB/s and of a disk at 3 GB/s.
"""

from dataclasses import replace

import numpy as np

from tierline.api.decision_matrix import BatchingMode, PreemptionSave
from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.memory.transfers import StorageTier
from tierline.scheduling.plans import EngineLimits, EngineRequest
from tierline.sim.engine import Arrival, SimulatedEngine
from tierline.sim.tiers import PageTimes

H100_8B = Coefficients(7.0, 0.0189, 1.3e-6, 0.02, 5.6e-5)
PAGE_BYTES = 16 * 131_072
TIMES = {
    StorageTier.HOST: PageTimes(PAGE_BYTES / 50e6, PAGE_BYTES / 50e6),
    StorageTier.DISK: PageTimes(PAGE_BYTES / 3e6, PAGE_BYTES / 3e6),
}
REQUESTS = 96
LIMITS = EngineLimits(
    max_running_requests=REQUESTS,
    max_batched_tokens=4096,
    max_model_tokens=8192,
    block_tokens=16,
    total_blocks=4_000,
    host_blocks=20_000,
    disk_blocks=20_000,
)


def crowd(save: PreemptionSave, batching: BatchingMode = "Continuous") -> list[Arrival]:
    """Requests that come at once, with prompts and answers of various lengths."""
    random = np.random.default_rng(61)
    lengths = zip(random.integers(200, 1200, REQUESTS), random.integers(100, 900, REQUESTS), strict=True)
    return [
        Arrival(0.0, EngineRequest(f"r{index}", int(prompt), int(output), save=save, batching=batching))
        for index, (prompt, output) in enumerate(lengths)
    ]


def run(arrivals: list[Arrival], limits: EngineLimits) -> tuple[SimulatedEngine, SchedulerCore, float]:
    core = SchedulerCore(limits, LatencyModel(H100_8B))
    engine = SimulatedEngine(core, H100_8B, tiers=TIMES)
    return engine, core, engine.replay(arrivals)


def half_of_need(arrivals: list[Arrival]) -> EngineLimits:
    need = sum(-(-arrival.request.max_total_tokens // LIMITS.block_tokens) for arrival in arrivals)
    return replace(LIMITS, total_blocks=need // 2)


def test_restoring_beats_recomputing_under_kv_pressure(record_effect) -> None:
    limits = half_of_need(crowd("Auto"))
    _, restoring, restored_ms = run(crowd("Auto"), limits)
    _, recomputing, recomputed_ms = run(crowd("Recompute"), limits)
    assert restoring.counters.preemptions_host > 0
    tax = recomputing.counters.recomputed_tokens / sum(arrival.request.max_total_tokens for arrival in crowd("Auto"))
    record_effect("kv_pressure_recompute_tax", value=100 * tax, threshold=5.0, unit="% of tokens recomputed without")
    again = restoring.counters.recomputed_tokens / max(recomputing.counters.recomputed_tokens, 1)
    record_effect("kv_pressure_recomputed", value=again, threshold=0.05, unit="x recomputed tokens", at_least=False)
    ratio = recomputed_ms / restored_ms
    record_effect("kv_pressure_restore", value=ratio, threshold=1.0, unit="x throughput of recomputing")


def test_a_discrete_batch_makes_who_waits_wait_for_its_longest_request(record_effect) -> None:
    limits = replace(LIMITS, max_running_requests=32, total_blocks=20_000)
    _, _, continuous_ms = run(crowd("Auto"), limits)
    _, core, discrete_ms = run(crowd("Auto", "Discrete"), limits)
    assert core.counters.preemptions_recompute + core.counters.preemptions_host == 0
    record_effect(
        "discrete_throughput", value=discrete_ms / continuous_ms, threshold=1.2, unit="x continuous, of discrete"
    )


def long_and_short(batching: BatchingMode) -> list[Arrival]:
    """Sixteen long answers fill the memory; a short question comes every half second."""
    long = [EngineRequest(f"long{index}", 500, 3000, batching=batching, save="Auto") for index in range(16)]
    short = [EngineRequest(f"short{index}", 500, 32, batching=batching, save="Auto") for index in range(40)]
    return [Arrival(0.0, request) for request in long] + [
        Arrival(500.0 * (1 + index), request) for index, request in enumerate(short)
    ]


def short_p95_ms(engine: SimulatedEngine, arrivals: list[Arrival]) -> float:
    times = [
        engine.token_ms[arrival.request.request_id][-1] - arrival.at_ms
        for arrival in arrivals
        if arrival.request.request_id.startswith("short")
    ]
    return float(np.percentile(times, 95))


def test_slices_let_short_requests_pass_long_ones(record_effect) -> None:
    limits = replace(LIMITS, total_blocks=1_400, slice_tokens=128)
    sliced, _, sliced_ms = run(long_and_short("Slice"), limits)
    continuous, _, continuous_ms = run(long_and_short("Continuous"), limits)
    assert sliced_ms <= 1.1 * continuous_ms
    ratio = short_p95_ms(continuous, long_and_short("Slice")) / short_p95_ms(sliced, long_and_short("Slice"))
    record_effect("slice_short_latency", value=ratio, threshold=3.0, unit="x shorter p95 of short requests")
