"""A made-up run with one reclaim, shaped like a demo's: for tests of what is drawn and printed from a run."""

import numpy as np

from tierline.sim.presets import AZURE_CONVERSATION
from tierline.sim.workload import TenantTraffic, plan_workload
from tierline.telemetry.records import (
    ClusterFacts,
    NodeUse,
    Outcome,
    Placement,
    Reclaim,
    RequestRecord,
    TenantShare,
    TierTarget,
    WorkerSample,
)

TIERS = (
    TierTarget("interactive", 2500, 400, None, 95, 100),
    TierTarget("standard", 6000, 600, None, 95, 50),
    TierTarget("batch", 20000, 1500, None, 90, 10),
)
TENANTS = (TenantShare("acme", 4), TenantShare("globex", 2), TenantShare("initech", 1))
WORKERS = ("smollm2-main-0", "smollm2-main-1", "smollm2-main-2")
NOTICED_MS, GONE_MS = 18_000.0, 26_000.0


def synthetic_run(seconds: float = 40, seed: int = 1) -> tuple[tuple[RequestRecord, ...], ClusterFacts]:
    """Return records and facts in which the second worker is reclaimed and its streams go on on the third."""
    rng = np.random.default_rng(seed)
    names = zip(TENANTS, TIERS, (0.6, 0.5, 0.3), strict=True)
    traffic = [
        TenantTraffic(tenant.name, tier.name, rate, AZURE_CONVERSATION, 0.05, 0.2, 12) for tenant, tier, rate in names
    ]
    records = tuple(
        _record(index, request, rng) for index, request in enumerate(plan_workload(traffic, seconds - 5, seed))
    )
    caught = tuple(record.request_id for record in records if record.interrupted)
    samples = tuple(
        WorkerSample(at * 500.0, worker, 2, 0, float(rng.uniform(0.05, 0.2)))
        for at in range(int(seconds * 2))
        for worker in WORKERS
        if worker != WORKERS[1] or at * 500 < GONE_MS
    )
    nodes = (
        NodeUse("on-demand-0", "zone-a", "on-demand", seconds),
        NodeUse("spot-0", "zone-b", "spot", GONE_MS / 1000, GONE_MS),
    )
    reclaim = Reclaim("spot-0", WORKERS[1], NOTICED_MS, GONE_MS, caught)
    return records, ClusterFacts(seconds * 1000, TIERS, TENANTS, nodes, samples, (reclaim,))


def _record(index: int, request, rng: np.random.Generator) -> RequestRecord:  # type: ignore[no-untyped-def]
    first = request.at_ms + rng.uniform(150, 900)
    times = first + np.concatenate([[0], np.cumsum(rng.gamma(4, 20, size=request.output_tokens - 1))])
    worker = WORKERS[index % 3]
    caught = worker == WORKERS[1] and times[0] < NOTICED_MS < times[-1]
    if worker == WORKERS[1] and not caught and times[-1] > NOTICED_MS:
        worker = WORKERS[0]
    stays = [Placement(worker, request.at_ms, float(times[-1]))]
    if caught:
        kept = int((times < NOTICED_MS).sum())
        times[kept:] += 700
        stays = [
            Placement(worker, request.at_ms, float(times[kept - 1])),
            Placement(WORKERS[2], float(times[kept - 1]) + 1, float(times[-1]), request.prompt_tokens + kept),
        ]
    return RequestRecord(
        request_id=f"request-{index:03d}",
        tenant=request.tenant,
        tier=request.tier,
        arrived_ms=request.at_ms,
        prompt_tokens=request.prompt_tokens,
        demanded_tokens=request.output_tokens,
        outcome=Outcome.OK,
        token_times_ms=tuple(float(at) for at in times),
        placements=tuple(stays),
        interrupted=caught,
    )
