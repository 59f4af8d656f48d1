"""From the stores to what the planners take."""

from collections.abc import Sequence

from tierline.api.fleet import LLMFleet
from tierline.api.parsing import parse
from tierline.api.pool import WorkerPool
from tierline.api.problems import InvalidResource
from tierline.api.quota import TenantQuota
from tierline.api.tier import SLOTier
from tierline.fleet.drift import ANNOTATION_APPLIED
from tierline.fleet.fleet_plan import ChildKey, FleetObservation
from tierline.fleet.gateway_objects import gateway_name
from tierline.fleet.observed import Manifest, ObjectIdentity
from tierline.fleet.pool_plan import PoolObservation
from tierline.fleet.reading import read_identity, read_node, read_pod
from tierline.fleet.wanted import Images, WantedFleet
from tierline.fleet.wanting import forbidden_changes, wanted_fleet, wanted_worker
from tierline.fleet.worker_pod import template_revision, worker_template
from tierline_operator.kinds import FLEET_CHILDREN, LLM_FLEET, NODE, POD, SLO_TIER, TENANT_QUOTA, WORKER_POOL
from tierline_operator.stores import Stores

ORPHAN_POOL = (
    "metadata.ownerReferences names no LLMFleet: pools are made by their fleet; delete this one and declare it in "
    "spec.pools of a fleet"
)


def observe_fleet(stores: Stores, live: Manifest, images: Images) -> FleetObservation:
    """Return everything that a fleet's plan depends on."""
    fleet = read_identity(live)
    tiers = valid_tiers(stores)
    wanted, problems = _wanted_fleet(live, tiers)
    forbidden = forbidden_changes(wanted, _running_pools(stores, fleet)) if wanted else ()
    if forbidden:
        wanted, problems = None, forbidden
    return FleetObservation(
        fleet=fleet,
        wanted=wanted,
        images=images,
        known_tiers=frozenset(tiers),
        problems=problems,
        secret_names=_secret_names(stores, fleet.namespace),
        children=_children(stores, fleet, wanted),
    )


def observe_pool(
    stores: Stores, live: Manifest, images: Images, now_ms: int
) -> tuple[PoolObservation, Manifest | None, tuple[str, ...]]:
    """Return a pool's observation, the pod that it wants (None when it cannot be known), and what is wrong."""
    pool = read_identity(live)
    template, problems = _worker_template(live, pool, images)
    pods = tuple(read_pod(obj) for obj in stores[POD].owned_by(pool.uid))
    nodes = {name: stores[NODE].get("", name) for name in {pod.node for pod in pods}}
    seen = PoolObservation(
        pool=pool,
        now_ms=now_ms,
        replicas=_replicas_within_bounds(stores, live),
        last_attempt=int(live.get("status", {}).get("lastAttempt", 0)),
        revision=template_revision(template) if template else None,
        pods=pods,
        nodes={name: read_node(obj) for name, obj in nodes.items() if obj is not None},
    )
    return seen, template, problems


def valid_tiers(stores: Stores) -> dict[str, SLOTier]:
    """Return the tiers that can be used, by name."""
    tiers: dict[str, SLOTier] = {}
    for obj in stores[SLO_TIER].all():
        try:
            tiers[obj["metadata"]["name"]] = parse(SLOTier, obj)
        except InvalidResource:
            continue
    return tiers


def find_fleet(stores: Stores, namespace: str, name: str) -> Manifest | None:
    return stores[LLM_FLEET].get(namespace, name)


def find_pool(stores: Stores, namespace: str, name: str) -> Manifest | None:
    """Return a pool to look after; one that its fleet has not finished writing is left alone."""
    live = stores[WORKER_POOL].get(namespace, name)
    if live is None:
        return None
    complete = ANNOTATION_APPLIED in live["metadata"].get("annotations", {})
    return live if complete or not _belongs_to_a_fleet(live) else None


def _belongs_to_a_fleet(live: Manifest) -> bool:
    return any(owner["kind"] == LLM_FLEET.kind for owner in live["metadata"].get("ownerReferences", ()))


def _replicas_within_bounds(stores: Stores, live: Manifest) -> int:
    """The fleet's bounds hold at once, not only when the fleet's own loop has written them back into the pool."""
    replicas = int(live["spec"].get("replicas", 0))
    fleet = stores[LLM_FLEET].get(live["metadata"]["namespace"], live["spec"].get("fleetRef", ""))
    wanted = _wanted_fleet(fleet, {})[0] if fleet is not None else None
    if wanted is None or not wanted.scales:
        return replicas
    pool = next((it for it in wanted.pools if it.name == live["metadata"]["name"]), None)
    return pool.bounded(replicas) if pool is not None else replicas


def _wanted_fleet(live: Manifest, tiers: dict[str, SLOTier]) -> tuple[WantedFleet | None, tuple[str, ...]]:
    try:
        fleet = parse(LLMFleet, live)
    except InvalidResource as invalid:
        return None, _sentences(invalid)
    return wanted_fleet(fleet, [tiers[name] for name in fleet.spec.tier_refs if name in tiers]), ()


def _running_pools(stores: Stores, fleet: ObjectIdentity) -> dict[str, WorkerPool]:
    pools: dict[str, WorkerPool] = {}
    for obj in stores[WORKER_POOL].owned_by(fleet.uid):
        try:
            pools[obj["metadata"]["name"]] = parse(WorkerPool, obj)
        except InvalidResource:
            continue
    return pools


def _worker_template(live: Manifest, pool: ObjectIdentity, images: Images) -> tuple[Manifest | None, tuple[str, ...]]:
    if not _belongs_to_a_fleet(live):
        return None, (ORPHAN_POOL,)
    try:
        parsed = parse(WorkerPool, live)
    except InvalidResource as invalid:
        return None, _sentences(invalid)
    return worker_template(pool, parsed.spec.fleet_ref, wanted_worker(parsed), images), ()


def _sentences(invalid: InvalidResource) -> tuple[str, ...]:
    return tuple(str(problem).rstrip(".") for problem in invalid.problems)


def _secret_names(stores: Stores, namespace: str) -> tuple[str, ...]:
    names: set[str] = set()
    for obj in stores[TENANT_QUOTA].all(namespace):
        try:
            quota = parse(TenantQuota, obj)
        except InvalidResource:
            continue
        names |= {ref.name for ref in quota.spec.api_key_secret_refs}
    return tuple(sorted(names))


def _children(stores: Stores, fleet: ObjectIdentity, wanted: WantedFleet | None) -> dict[ChildKey, Manifest]:
    """Children by owner, and whatever else already bears the name of one that is wanted."""
    names = [gateway_name(fleet.name), *(pool.name for pool in (wanted.pools if wanted else ()))]
    found: dict[ChildKey, Manifest] = {}
    for kind in FLEET_CHILDREN:
        named: Sequence[Manifest | None] = [stores[kind].get(fleet.namespace, name) for name in names]
        for obj in (*stores[kind].owned_by(fleet.uid), *named):
            if obj is not None:
                found[ChildKey(kind.kind, obj["metadata"]["name"])] = obj
    return found
