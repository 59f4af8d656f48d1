"""From a fleet's resources and its traffic to what scaling and feasibility take."""

from collections.abc import Mapping
from dataclasses import dataclass

from tierline.api.fleet import LLMFleet
from tierline.api.pool import WorkerPool
from tierline.api.tier import SLOTier, Targets, TpotTargets, TtftTargets
from tierline.fleet.scaling.capacity import RequestShape, WorkerShape
from tierline.fleet.scaling.feasibility import Promise, SizedPool
from tierline.fleet.scaling.load import FleetLoad, PoolLoad, TierLoad
from tierline.fleet.scaling.planner import ScalingPolicy
from tierline.fleet.scaling.signals import FleetTraffic, typical
from tierline.scheduling.latency import COLD_MARGIN, Coefficients

_PERCENTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A live pool: its parsed resource, how many workers are ready, its pods, and its bounds in the fleet."""

    pool: WorkerPool
    ready: int
    pods: frozenset[str]
    low: int
    high: int


def scaling_policy(fleet: LLMFleet) -> ScalingPolicy:
    declared = fleet.spec.scaling
    return ScalingPolicy(
        utilization=declared.target_utilization_percent / 100,
        stabilization_ms=declared.stabilization_seconds * 1000,
        idle_ms=declared.scale_to_zero_idle_seconds * 1000,
        forecasts=declared.forecast == "Trend",
    )


def worker_shape(pool: WorkerPool, coefficients: Coefficients | None, warm: bool = True) -> WorkerShape | None:
    """Return what a worker of `pool` is; None while nobody has told how fast the model is."""
    engine = pool.spec.engine
    if coefficients is None:
        return None
    return WorkerShape(
        role=pool.spec.role,
        coefficients=coefficients,
        max_running_requests=engine.max_running_requests,
        max_batched_tokens=engine.max_batched_tokens,
        kv_tokens=engine.kv_cache_blocks * engine.block_tokens,
        margin=0.0 if warm else COLD_MARGIN,
    )


def measured(facts: PoolFacts, traffic: FleetTraffic) -> tuple[Coefficients | None, bool]:
    """Return the coefficients that the pool's workers tell, and whether warm ones do: those alone count if there are
    any."""
    told = {pod: it for pod, it in traffic.coefficients.items() if pod in facts.pods}
    warm = [it for pod, it in told.items() if pod in traffic.warm]
    return typical(warm or told.values()), bool(warm)


def fleet_load(
    fleet: LLMFleet,
    tiers: Mapping[str, SLOTier],
    pools: Mapping[str, tuple[PoolFacts, WorkerShape | None]],
    traffic: FleetTraffic,
    cold_start_seconds: float,
) -> FleetLoad:
    """Return the fleet's load; the declared workload gives the lengths until requests have been seen."""
    shape = traffic.shape or declared_shape(fleet)
    loads = [_tier_load(tiers[name], traffic, shape) for name in fleet.spec.tier_refs if name in tiers]
    return FleetLoad(
        tuple(loads),
        tuple(_pool_load(facts, shape_of_worker, traffic) for facts, shape_of_worker in pools.values()),
        cold_start_seconds,
    )


def declared_shape(fleet: LLMFleet) -> RequestShape | None:
    declared = fleet.spec.workload
    return RequestShape(declared.prompt_tokens, declared.output_tokens) if declared else None


def promises_of(tiers: Mapping[str, SLOTier]) -> tuple[Promise, ...]:
    """Return every target that the tiers declare."""
    found: list[Promise] = []
    for name, tier in sorted(tiers.items()):
        targets = tier.spec.targets or Targets()
        for metric, group in (("TTFT", targets.ttft_milliseconds), ("TPOT", targets.tpot_milliseconds)):
            found += [Promise(name, metric, share, target) for share, target in _declared(group)]
    return tuple(found)


def sized_pools(pools: Mapping[str, tuple[PoolFacts, WorkerShape | None]]) -> tuple[SizedPool, ...]:
    return tuple(SizedPool(worker, facts.high) for facts, worker in pools.values() if worker is not None)


def _declared(group: TtftTargets | TpotTargets | None) -> list[tuple[float, float]]:
    values = [(share, getattr(group, field, None)) for share, field in _PERCENTILES]
    return [(share, float(value)) for share, value in values if value is not None]


def _tier_load(tier: SLOTier, traffic: FleetTraffic, shape: RequestShape | None) -> TierLoad:
    seen = traffic.tiers.get(tier.metadata.name)
    targets = tier.spec.targets or Targets()
    ttft = targets.ttft_milliseconds.mainly() if targets.ttft_milliseconds else None
    tpot = targets.tpot_milliseconds.mainly() if targets.tpot_milliseconds else None
    if seen is None:
        return TierLoad(tier.metadata.name, tpot_target_ms=tpot)
    return TierLoad(
        tier.metadata.name,
        seen.per_second,
        seen.queued,
        shape,
        seen.ttft_ms / ttft if seen.ttft_ms and ttft else None,
        seen.tpot_ms / tpot if seen.tpot_ms and tpot else None,
        tpot,
    )


def _pool_load(facts: PoolFacts, worker: WorkerShape | None, traffic: FleetTraffic) -> PoolLoad:
    used = [traffic.kv_used[pod] for pod in facts.pods if pod in traffic.kv_used]
    return PoolLoad(
        name=facts.pool.metadata.name,
        low=facts.low,
        high=facts.high,
        replicas=facts.pool.spec.replicas,
        ready=min(facts.ready, facts.pool.spec.replicas),
        worker=worker,
        running=sum(traffic.running.get(pod, 0.0) for pod in facts.pods),
        kv_used=sum(used) / len(used) if used else 0.0,
    )
