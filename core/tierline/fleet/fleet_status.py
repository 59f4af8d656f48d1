"""What a fleet says about itself: can it be used, does it serve, and what has to be put right."""

from collections.abc import Iterable, Mapping
from typing import Any

from tierline.api.fleet import WEIGHTS_NODES_LIMIT
from tierline.fleet.answer_storage import answers_verdict
from tierline.fleet.fleet_plan import ChildKey, FleetObservation
from tierline.fleet.gateway_objects import gateway_name
from tierline.fleet.guests import guests_verdict
from tierline.fleet.observed import Manifest
from tierline.fleet.placement.weights import NOWHERE, CachedModel
from tierline.fleet.readiness import ready_verdict
from tierline.fleet.rollout.status import fleet_rollout_verdict
from tierline.fleet.verdicts import Verdict, conditions_of

_WELL = ("AsWanted", "All tiers exist, all workers and gateways are ready.")


def fleet_verdicts(seen: FleetObservation, refusal: str = "") -> tuple[Verdict, ...]:
    """Return the fleet's conditions. `refusal` is what the API server said to our last write, if it refused it."""
    accepted = _accepted(seen)
    resolved = _tiers_resolved(seen)
    available = _available(seen)
    rolled_out = fleet_rollout_verdict(seen.fleet, [live for _, live in sorted(seen.pools.items())])
    progressing = _progressing(seen, accepted, resolved)
    ready = ready_verdict((accepted, resolved, available), progressing, rolled_out, refusal, well=_WELL)
    shared = (guests_verdict(seen.guests),) if seen.guests.refs else ()
    wanted = seen.wanted
    kept = (answers_verdict(wanted.answers),) if wanted is not None and wanted.gateway_replicas else ()
    return (accepted, resolved, available, progressing, rolled_out, *shared, *kept, ready)


def fleet_status(
    seen: FleetObservation,
    verdicts: tuple[Verdict, ...],
    now_ms: int,
    cents_per_hour: int = 0,
    weights: CachedModel = NOWHERE,
) -> Mapping[str, Any]:
    """Return the status to write, without anything that changes while its meaning does not."""
    pools = [_pool_summary(seen, name, live) for name, live in sorted(seen.pools.items())]
    return {
        "observedGeneration": seen.fleet.generation,
        "replicas": sum(pool["replicas"] for pool in pools),
        "readyReplicas": sum(pool["readyReplicas"] for pool in pools),
        "pools": pools,
        "gateway": {"readyReplicas": _ready_gateways(seen)},
        "centsPerHour": cents_per_hour,
        **({"weights": _weights(weights)} if weights.nodes else {}),
        "conditions": conditions_of(seen.fleet, verdicts, now_ms),
    }


def _weights(weights: CachedModel) -> dict[str, Any]:
    return {
        "mebibytes": -(-weights.bytes // (1 << 20)),
        "nodeCount": len(weights.nodes),
        "nodes": list(weights.nodes[:WEIGHTS_NODES_LIMIT]),
    }


def _pool_summary(seen: FleetObservation, name: str, live: Manifest) -> dict[str, Any]:
    return {
        "name": name.removeprefix(f"{seen.fleet.name}-"),
        "replicas": int(live["spec"].get("replicas", 0)),
        "readyReplicas": int(live.get("status", {}).get("readyReplicas", 0)),
    }


def _ready_gateways(seen: FleetObservation) -> int:
    deployment = seen.children.get(ChildKey("Deployment", gateway_name(seen.fleet.name)), {})
    return int(deployment.get("status", {}).get("readyReplicas", 0))


def _accepted(seen: FleetObservation) -> Verdict:
    if seen.problems:
        return Verdict("Accepted", False, "InvalidSpec", f"{'; '.join(seen.problems)}.")
    taken = seen.taken()
    if taken:
        names = ", ".join(f"{key.kind} {key.name}" for key in taken)
        return Verdict("Accepted", False, "NameTaken", _taken_message(names))
    return Verdict("Accepted", True, "Valid", "The spec is valid.")


def _taken_message(names: str) -> str:
    return (
        f"{names} belongs to another object: if that is a fleet just deleted, its remains are on their way out and "
        "nothing needs to be done; otherwise rename the fleet or pool."
    )


def _tiers_resolved(seen: FleetObservation) -> Verdict:
    if seen.wanted is None:
        return Verdict("TiersResolved", None, "InvalidSpec", "The spec is not valid, see Accepted.")
    if not seen.missing_tiers:
        return Verdict("TiersResolved", True, "AllFound", "Every tier of the fleet exists.")
    lost = "; ".join(f"spec.tierRefs[{index}] names the tier {name!r}" for index, name in seen.missing_tiers)
    existing = ", ".join(sorted(seen.known_tiers)) or "none"
    fix = f"create or correct it, or name one that is in force ({existing})"
    kept = "What runs keeps running." if seen.pools else "Nothing is started until then."
    return Verdict(
        "TiersResolved", False, "TierNotFound", f"{lost}, which does not exist or is not valid: {fix}. {kept}"
    )


def _available(seen: FleetObservation) -> Verdict:
    if not seen.pools:
        return Verdict("Available", False, "NotStarted", "The fleet has no pools yet.", is_news=False)
    wanting = [live for live in seen.pools.values() if int(live["spec"].get("replicas", 0))]
    if not wanting:
        return Verdict("Available", False, "ScaledToZero", "No workers are wanted.", is_news=False)
    starved = [live for live in wanting if not live.get("status", {}).get("readyReplicas", 0)]
    if starved:
        return _without_workers(starved)
    if not _ready_gateways(seen) + sum(seen.hosts.values()):
        return _without_gateway(seen)
    return Verdict("Available", True, "Serving", "The fleet serves requests.")


def _without_gateway(seen: FleetObservation) -> Verdict:
    if seen.hosts or (seen.wanted is not None and seen.wanted.gateway_replicas):
        return Verdict("Available", False, "GatewayNotReady", "No gateway is ready yet.", is_news=False)
    fix = "set it to 1 or more, or name the fleet in spec.gateway.fleetRefs of another one"
    return Verdict("Available", False, "NoGateway", f"spec.gateway.replicas is 0: {fix}.")


def _without_workers(starved: Iterable[Manifest]) -> Verdict:
    told = [(live["metadata"]["name"], _condition(live, "Available")) for live in starved]
    for name, condition in told:
        if condition.get("reason") == "WorkersFailing":
            return Verdict("Available", False, "WorkersFailing", f"Pool {name}: {condition['message']}")
    return Verdict("Available", False, "WorkersStarting", "Not every pool has a ready worker yet.", is_news=False)


def _condition(live: Manifest, kind: str) -> Mapping[str, Any]:
    conditions = live.get("status", {}).get("conditions", ())
    return next((it for it in conditions if it["type"] == kind), {})


def _progressing(seen: FleetObservation, accepted: Verdict, resolved: Verdict) -> Verdict:
    if not accepted.holds or not resolved.holds:
        return Verdict("Progressing", False, "Waiting", "Something has to be put right first.", is_news=False)
    moving = [(name, _condition(live, "Progressing")) for name, live in sorted(seen.pools.items())]
    for name, condition in moving:
        if condition.get("status") != "False":
            message = condition.get("message", "Its workers are not created yet.")
            return Verdict("Progressing", True, condition.get("reason", "Starting"), f"Pool {name}: {message}", False)
    wanted = seen.wanted.gateway_replicas if seen.wanted else 0
    if _ready_gateways(seen) != wanted:
        message = f"{_ready_gateways(seen)} of {wanted} gateways are ready."
        return Verdict("Progressing", True, "GatewayStarting", message, is_news=False)
    return Verdict("Progressing", False, "Settled", "Everything is as wanted.", is_news=False)
