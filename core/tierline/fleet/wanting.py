"""From resources as declared to what the planners take."""

from collections.abc import Iterable, Mapping
from typing import Any

from tierline.api.block import Block
from tierline.api.decision_matrix import DECISION_MATRIX, SpotUse
from tierline.api.fleet import LLMFleet, Pool
from tierline.api.gateway import Gateway
from tierline.api.parsing import parse, transition_problems
from tierline.api.pool import WorkerPool
from tierline.api.serving import Engine, Placement, SpotPlacement, SpotPolicy
from tierline.api.serving import ZoneSpread as DeclaredSpread
from tierline.api.tier import SLOTier
from tierline.fleet.placement.hedging import Hedge
from tierline.fleet.placement.planner import PlacementTerms
from tierline.fleet.rollout.steps import RolloutPolicy
from tierline.fleet.wanted import (
    AnswersIn,
    Capacity,
    SharedStore,
    StoredAnswers,
    WantedFleet,
    WantedPool,
    WantedWorker,
    ZoneSpread,
)

_CAPACITY: Mapping[SpotPolicy, Capacity] = {
    "OnDemandOnly": Capacity.ON_DEMAND,
    "PreferSpot": Capacity.PREFER_SPOT,
    "SpotOnly": Capacity.SPOT,
}
_FOLLOWED: Mapping[frozenset[SpotUse], SpotPolicy] = {
    frozenset({"Avoid"}): "OnDemandOnly",
    frozenset({"Only"}): "SpotOnly",
}
_SPREAD: Mapping[DeclaredSpread, ZoneSpread] = {
    "Required": ZoneSpread.REQUIRED,
    "Preferred": ZoneSpread.PREFERRED,
    "Ignored": ZoneSpread.IGNORED,
}


def wanted_fleet(fleet: LLMFleet, tiers: Iterable[SLOTier]) -> WantedFleet:
    """Return what `fleet` asks for; `tiers` are those of its tiers that exist."""
    placement = _placement(fleet.spec.placement, {spot_use(tier) for tier in tiers})
    return WantedFleet(
        tier_refs=fleet.spec.tier_refs,
        pools=tuple(_wanted_pool(fleet, pool, placement) for pool in fleet.spec.pools),
        gateway_replicas=fleet.spec.gateway.replicas,
        scales=fleet.spec.scaling.mode == "Tierline",
        gateway_processes=fleet.spec.gateway.processes,
        state_store=_state_store(fleet.spec.gateway),
        answers=_stored_answers(fleet.spec.gateway),
    )


def _state_store(gateway: Gateway) -> SharedStore | None:
    declared = gateway.state_store
    if declared is None:
        return None
    ref = declared.password_secret_ref
    return SharedStore(declared.url, (ref.name, ref.key) if ref is not None else None)


def _stored_answers(gateway: Gateway) -> StoredAnswers:
    """An answer that only one of several pods knows would be lost for who asks another, so those keep none alone."""
    declared = gateway.stored_answers
    if declared.claim_name:
        return StoredAnswers(AnswersIn.CLAIM, declared.max_mebibytes, declared.claim_name)
    if gateway.state_store is not None:
        return StoredAnswers(AnswersIn.STORE, declared.max_mebibytes)
    place = AnswersIn.SCRATCH if gateway.replicas <= 1 else AnswersIn.NOWHERE
    return StoredAnswers(place, declared.max_mebibytes)


def wanted_worker(pool: WorkerPool) -> WantedWorker:
    """Return what every worker of `pool` asks for."""
    spec = pool.spec
    spot = spec.placement.spot
    return WantedWorker(
        environment={
            "TIERLINE_MODEL_SOURCE": spec.model.source,
            "TIERLINE_MODEL_NAME": spec.model.served_name or spec.fleet_ref,
            "TIERLINE_MODEL_DTYPE": spec.model.dtype,
            "TIERLINE_MODEL_QUANTIZATION": spec.model.quantization,
            "TIERLINE_DRAFT_SOURCE": spec.model.draft_source or "",
            **engine_environment(spec.engine),
        },
        role=spec.role,
        cpu=spec.resources.cpu,
        memory=spec.resources.memory,
        gpus=spec.resources.gpu,
        accelerators=(spec.accelerator, *spec.alternative_accelerators) if spec.accelerator else (),
        capacity=_CAPACITY[spot.policy] if spot else Capacity.ANY,
        zone_spread=_SPREAD[spot.zone_spread] if spot else ZoneSpread.PREFERRED,
        drain_seconds=spec.drain_seconds,
    )


def placement_terms(pool: WorkerPool, replicas: int) -> PlacementTerms:
    """Return what `pool` declares about where its workers run."""
    worker, spot = wanted_worker(pool), pool.spec.placement.spot
    hedge = Hedge(worker.capacity, replicas, spot.extra_replicas if spot else 0, spot.on_demand_floor if spot else 0)
    by_order = pool.spec.placement.accelerator_choice == "Order"
    return PlacementTerms(hedge, worker.zone_spread, worker.accelerators, by_order)


def rollout_policy(pool: WorkerPool) -> RolloutPolicy:
    """Return how careful `pool` is with changes."""
    declared = pool.spec.rollout
    return RolloutPolicy(
        canary_percent=declared.canary_percent,
        max_surge=declared.max_surge,
        max_unavailable=declared.max_unavailable,
        hold_ms=declared.hold_seconds * 1000,
        progress_deadline_ms=declared.progress_deadline_seconds * 1000,
        min_requests=declared.analysis.min_requests,
    )


def forbidden_changes(wanted: WantedFleet, running: Mapping[str, WorkerPool]) -> tuple[str, ...]:
    """Say which fields of the fleet must not change while its pools run; where CEL works the server has refused them.

    `running` are the fleet's live pools by name.
    """
    told: list[str] = []
    for index, pool in enumerate(wanted.pools):
        former = running.get(pool.name)
        if former is None:
            continue
        after = parse(WorkerPool, {"metadata": {"name": pool.name}, "spec": pool.spec})
        for problem in transition_problems(after, former):
            path = problem.path.replace("spec.role", f"spec.pools[{index}].role")
            told.append(f"{path} {problem.message}")
    return tuple(dict.fromkeys(told))


def spot_use(tier: SLOTier) -> SpotUse:
    """Return whether the tier's requests may run on spot capacity, by its own word or by its objective."""
    return tier.spec.spot or DECISION_MATRIX[tier.spec.objective].spot


def _wanted_pool(fleet: LLMFleet, pool: Pool, placement: Placement) -> WantedPool:
    model = fleet.spec.model.model_copy(update={"served_name": fleet.served_name})
    spec: dict[str, Any] = {
        "fleetRef": fleet.metadata.name,
        "role": pool.role,
        "engine": _plain(pool.engine),
        "resources": _plain(pool.resources),
        "model": _plain(model),
        "drainSeconds": fleet.spec.drain_seconds,
        "placement": _plain(placement),
        "rollout": _plain(fleet.spec.rollout),
    }
    if pool.accelerator:
        spec["accelerator"] = pool.accelerator
        spec["alternativeAccelerators"] = list(pool.alternative_accelerators)
    return WantedPool(
        name=f"{fleet.metadata.name}-{pool.name}",
        min_replicas=pool.replicas.min,
        max_replicas=pool.replicas.max,
        spec=spec,
    )


def _placement(declared: Placement, uses: set[SpotUse]) -> Placement:
    """A fleet that says nothing about spot follows its tiers, where these agree."""
    if declared.spot is not None:
        return declared
    policy = _FOLLOWED.get(frozenset(uses))
    return declared.model_copy(update={"spot": SpotPlacement(policy=policy)}) if policy else declared


def engine_environment(engine: Engine) -> dict[str, str]:
    """Return the environment that tells a worker its sizes."""
    return {
        "TIERLINE_KV_CACHE_BLOCKS": str(engine.kv_cache_blocks),
        "TIERLINE_BLOCK_TOKENS": str(engine.block_tokens),
        "TIERLINE_MAX_RUNNING_REQUESTS": str(engine.max_running_requests),
        "TIERLINE_MAX_BATCHED_TOKENS": str(engine.max_batched_tokens),
        "TIERLINE_MAX_MODEL_TOKENS": str(engine.max_model_tokens),
        "TIERLINE_THREADS": str(engine.threads),
        "TIERLINE_PREFIX_CACHING": engine.prefix_caching,
        "TIERLINE_HOST_CACHE_BLOCKS": str(engine.host_cache_blocks),
        "TIERLINE_DISK_CACHE_BLOCKS": str(engine.disk_cache_blocks),
        "TIERLINE_MAX_DRAFT_TOKENS": str(engine.max_draft_tokens),
        "TIERLINE_SLICE_TOKENS": str(engine.slice_tokens),
        "TIERLINE_MAX_ADAPTERS": str(engine.max_adapters),
        "TIERLINE_MAX_ADAPTER_RANK": str(engine.max_adapter_rank),
        "TIERLINE_ADAPTER_SOURCES": ",".join(engine.adapter_sources),
        "TIERLINE_TENSOR_PARALLEL": str(engine.tensor_parallel),
        "OMP_NUM_THREADS": str(engine.threads),
    }


def _plain(block: Block) -> Any:
    return block.model_dump(mode="json", by_alias=True, exclude_none=True)
