"""Short ways to say what a planner sees, and a pool whose plans are carried out at once."""

from dataclasses import dataclass, replace
from typing import Any

from tierline.api.fleet import LLMFleet
from tierline.api.parsing import parse
from tierline.fleet.fleet_plan import ChildKey, FleetObservation, FleetPlan
from tierline.fleet.observed import ObjectIdentity, ObservedNode, ObservedPod
from tierline.fleet.pool_plan import PoolObservation, PoolPlan, plan_pool
from tierline.fleet.wanted import Capacity, Images, WantedFleet, WantedPool, WantedWorker, ZoneSpread
from tierline.fleet.worker_pod import worker_name

NOW = 1_000_000_000
POOL = ObjectIdentity("WorkerPool", "demo", "chat-main", "pool-uid")
FLEET = ObjectIdentity("LLMFleet", "demo", "chat", "fleet-uid")
IMAGES = Images(worker="worker:1", gateway="gateway:1")


def pod(attempt: int, **seen: Any) -> ObservedPod:
    """A ready worker of revision `new` that was made `attempt` seconds after the first ones, an hour ago."""
    standard = {
        "name": worker_name(POOL.name, attempt),
        "uid": f"uid-{attempt}",
        "attempt": attempt,
        "revision": "new",
        "created_ms": NOW - 3_600_000 + attempt * 1000,
        "node": "node-a",
        "scheduled_ms": NOW - 3_600_000,
        "phase": "Running",
        "ready": True,
    }
    return ObservedPod(**{**standard, **seen})


def node(name: str = "node-a", **seen: Any) -> ObservedNode:
    return ObservedNode(name, **seen)


def pool(
    *pods: ObservedPod, replicas: int = 2, nodes: tuple[ObservedNode, ...] | None = None, **seen: Any
) -> PoolObservation:
    """A pool on one good node unless said otherwise."""
    known = {it.name: it for it in (nodes if nodes is not None else (node(),))}
    last = max((it.attempt for it in pods), default=0)
    standard = {"pool": POOL, "now_ms": NOW, "last_attempt": last, "revision": "new", "nodes": known}
    return PoolObservation(replicas=replicas, pods=pods, **{**standard, **seen})


def removed(plan: PoolPlan) -> list[str]:
    return [it.name.removeprefix("chat-main-") for it in plan.removals]


def carried_out(seen: PoolObservation, plan: PoolPlan, ready: bool = True) -> PoolObservation:
    """Return the pool after a plan: new pods run at once on `node-a`, removed ones are gone."""
    gone = {it.uid for it in plan.removals}
    told = {it.uid: it.deadline_ms for it in plan.evacuations}
    left = [replace(it, evacuate_by_ms=told.get(it.uid, it.evacuate_by_ms)) for it in seen.pods if it.uid not in gone]
    made = [
        pod(made.attempt, ready=ready, revision=made.revision, created_ms=seen.now_ms, scheduled_ms=seen.now_ms)
        for made in plan.workers
    ]
    return replace(seen, pods=(*left, *made), last_attempt=plan.last_attempt)


def settled(seen: PoolObservation, limit: int = 50) -> tuple[PoolObservation, list[PoolPlan]]:
    """Carry plans out, and let every pod get ready that can, until nothing changes; returns the pool and the plans."""
    plans: list[PoolPlan] = []
    while True:
        plan = plan_pool(seen)
        after = with_all_ready(seen) if plan.is_empty else carried_out(seen, plan)
        if after == seen:
            return seen, plans
        seen = after
        plans += [] if plan.is_empty else [plan]
        assert len(plans) < limit, f"does not settle: {plan}"


def with_all_ready(seen: PoolObservation) -> PoolObservation:
    return replace(
        seen, pods=tuple(it if it.finished else replace(it, ready=True, phase="Running") for it in seen.pods)
    )


def worker(**asked: Any) -> WantedWorker:
    standard = {
        "environment": {"TIERLINE_MODEL_SOURCE": "/models/tiny"},
        "role": "Unified",
        "cpu": None,
        "memory": None,
        "gpus": 0,
        "accelerators": (),
        "capacity": Capacity.ANY,
        "zone_spread": ZoneSpread.PREFERRED,
        "drain_seconds": 30,
    }
    return WantedWorker(**{**standard, **asked})


def wanted_pool(name: str = "chat-main", low: int = 2, high: int = 4, **spec: Any) -> WantedPool:
    declared = {"fleetRef": "chat", "role": "Unified", "model": {"source": "/models/tiny"}, **spec}
    return WantedPool(name, low, high, declared)


def wanted(*pools: WantedPool, **asked: Any) -> WantedFleet:
    standard = {"tier_refs": ("gold",), "gateway_replicas": 1, "scales": True}
    return WantedFleet(pools=pools or (wanted_pool(),), **{**standard, **asked})


@dataclass(frozen=True)
class Applied:
    """A cluster that takes every write of a fleet's plans as the API server would."""

    seen: FleetObservation

    def after(self, plan: FleetPlan) -> "Applied":
        children = dict(self.seen.children)
        for manifest in plan.applies:
            held = children.get(_key(manifest), {})
            spec = {**held.get("spec", {}), **manifest.get("spec", {})}
            children[_key(manifest)] = {**held, **_stored(manifest), **({"spec": spec} if spec else {})}
        for scale in plan.scales:
            key = ChildKey("WorkerPool", scale.name)
            children[key] = {**children[key], "spec": {**children[key]["spec"], "replicas": scale.replicas}}
        for reference in plan.deletes:
            del children[ChildKey(reference.kind, reference.name)]
        return Applied(replace(self.seen, children=children))


def fleet(wanted_fleet: WantedFleet | None = None, **seen: Any) -> FleetObservation:
    standard = {"fleet": FLEET, "images": IMAGES, "known_tiers": frozenset({"gold"})}
    return FleetObservation(wanted=wanted_fleet or wanted(), **{**standard, **seen})


def _key(manifest: Any) -> ChildKey:
    return ChildKey(manifest["kind"], manifest["metadata"]["name"])


def _stored(manifest: Any) -> dict[str, Any]:
    uid = f"uid-of-{manifest['kind']}-{manifest['metadata']['name']}"
    return {**manifest, "metadata": {**manifest["metadata"], "uid": uid}}


def declared_fleet(**spec: Any) -> LLMFleet:
    """Return a fleet as a user declares it, with some fields of its spec changed."""
    pools = [
        {"name": "main", "replicas": {"min": 1, "max": 3}, "resources": {"gpu": 1, "cpu": "2"}, "accelerator": "h100"}
    ]
    body = {"model": {"source": "/models/tiny"}, "tierRefs": ["gold"], "pools": pools, **spec}
    return parse(LLMFleet, {"metadata": {"name": "chat", "namespace": "demo"}, "spec": body})
