"""How much traffic the policies carry before their promises break, and what is left beyond that."""

import numpy as np
from simulated_fleets import run_fleet, source, tier

from tierline.sim.run import SimulationResult
from tierline.telemetry.goodput import met
from tierline.telemetry.records import TierTarget

INTERACTIVE = tier("interactive", 100, "Latency", 10_000, ttftMilliseconds={"p95": 1000}, tpotMilliseconds={"p95": 50})
MAX_TOKENS = 1000
"""What clients ask for; how long an answer becomes nobody knows before."""

KNEE_PER_SECOND = 18.0
"""One worker serves so many conversations a second in time; at 20 it no longer serves all of them."""


def conversations(policy: str, per_second: float, seconds: float = 60, workers: int = 1) -> SimulationResult:
    traffic = [source("a", "interactive", per_second * workers, maxTokens=MAX_TOKENS)]
    return run_fleet(
        policy, workers=workers, seconds=seconds, tiers=[INTERACTIVE], tenants=[{"name": "a"}], traffic=traffic
    )


def sustains(policy: str, per_second: float, gap_limit_ms: float) -> bool:
    """Sarathi-Serve's definition of capacity: p99 gap within the limit, median wait for the first token within 2 s."""
    records = conversations(policy, per_second, seconds=40).records
    gaps = np.concatenate([np.diff(record.token_times_ms) for record in records if len(record.token_times_ms) > 1])
    waits = [record.ttft_ms for record in records if record.ttft_ms is not None]
    return bool(np.percentile(gaps, 99) <= gap_limit_ms and np.median(waits) <= 2000)


def capacity(policy: str, gap_limit_ms: float, low: float, high: float) -> float:
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (middle, high) if sustains(policy, middle, gap_limit_ms) else (low, middle)
    return low


def test_stall_free_batches_carry_more_at_the_same_pace(record_effect) -> None:
    ratio = capacity("edf", 50, 8, 24) / capacity("fcfs-prefill-first", 50, 0.5, 12)
    record_effect("E1_stall_free_capacity", value=ratio, threshold=3.0, unit="x requests/s of prefill-first at 50 ms")


def attainment(result: SimulationResult, target: TierTarget) -> float:
    mine = [record for record in result.records if record.tier == target.name]
    return sum(met(record, target) for record in mine) / len(mine)


def in_time_per_second(policy: str, per_second: float) -> float:
    result = conversations(policy, per_second)
    return attainment(result, result.facts.tiers[0]) * per_second


def test_overload_is_refused_early_instead_of_making_everyone_late(record_effect) -> None:
    at_the_knee = in_time_per_second("tierline", KNEE_PER_SECOND)
    overloaded = [in_time_per_second("tierline", KNEE_PER_SECOND * load) for load in (1.25, 1.5)]
    assert in_time_per_second("fcfs-chunked", KNEE_PER_SECOND * 1.25) < 0.25 * at_the_knee
    record_effect("E6_overload_requests", value=min(overloaded), threshold=15.0, unit="requests/s in time")
    percent = 100 * min(overloaded) / at_the_knee
    record_effect("E6_overload_goodput", value=percent, threshold=85.0, unit="% of the knee's, at 125 and 150 % load")


def three_classes(policy: str, per_second: float) -> dict[str, float]:
    tight = tier("tight", 100, "Latency", 10_000, ttftMilliseconds={"p95": 500}, tpotMilliseconds={"p95": 50})
    normal = tier("normal", 50, "Latency", 10_000, ttftMilliseconds={"p95": 4000}, tpotMilliseconds={"p95": 100})
    batch = tier("batch", 10, "Cost", 600_000, deadlineSeconds=120)
    tenants = {"a": "tight", "b": "normal", "c": "batch"}
    traffic = [source(tenant, name, per_second / 3, maxTokens=MAX_TOKENS) for tenant, name in tenants.items()]
    result = run_fleet(
        policy,
        seconds=60,
        tiers=[tight, normal, batch],
        tenants=[{"name": tenant} for tenant in tenants],
        traffic=traffic,
    )
    return {target.name: 100 * attainment(result, target) for target in result.facts.tiers}


def test_tight_deadlines_hold_at_the_knee_beside_loose_ones(record_effect) -> None:
    ours = three_classes("tierline", KNEE_PER_SECOND)
    assert three_classes("fcfs-chunked", KNEE_PER_SECOND)["tight"] < 50
    record_effect("E7_tight_attainment", value=ours["tight"], threshold=98.0, unit="% at the knee")
    record_effect("E7_batch_attainment", value=ours["batch"], threshold=99.0, unit="% at the knee")


def beside_jobs(policy: str, jobs_per_second: float) -> tuple[float, float]:
    """Return tokens per second within the minute, and the share of online requests in time, beside offline jobs."""
    online = tier("online", 100, "Latency", 10_000, ttftMilliseconds={"p95": 2000}, tpotMilliseconds={"p95": 50})
    offline = tier("offline", 10, "Cost", 86_400_000, deadlineSeconds=86_400)
    traffic = [source("web", "online", 8.3, maxTokens=MAX_TOKENS)]
    if jobs_per_second:
        traffic.append(source("jobs", "offline", jobs_per_second, promptTokens=1500, outputTokens=100))
    tenants = [{"name": "web"}, {"name": "jobs"}]
    result = run_fleet(policy, seconds=60, tiers=[online, offline], tenants=tenants, traffic=traffic)
    delivered = [record for record in result.records if record.token_times_ms and record.token_times_ms[-1] <= 60_000]
    target = next(target for target in result.facts.tiers if target.name == "online")
    tokens = sum(record.prompt_tokens + len(record.token_times_ms) for record in delivered)
    return tokens / 60, attainment(result, target)


def test_offline_jobs_take_what_online_traffic_leaves(record_effect) -> None:
    """ConServe's and HyGen's co-location: online alone, all in one queue, and offline in the online pace's spare."""
    alone, _ = beside_jobs("tierline", 0.0)
    together, in_time = beside_jobs("tierline", 20.0)
    _, in_one_queue = beside_jobs("fcfs-chunked", 20.0)
    assert in_one_queue < 0.5
    record_effect("E8_colocation_tokens", value=together / alone, threshold=2.2, unit="x tokens/s of online alone")
    record_effect("E8_online_attainment", value=100 * in_time, threshold=98.5, unit="% of online requests in time")
