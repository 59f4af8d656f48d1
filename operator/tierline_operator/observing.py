"""From the stores to what the planners take."""

from collections.abc import Sequence

from tierline.api.fleet import LLMFleet
from tierline.api.pool import WorkerPool
from tierline.api.problems import InvalidResource
from tierline.api.quota import TenantQuota
from tierline.api.tier import SLOTier
from tierline.fleet.fleet_plan import ChildKey, FleetObservation, was_applied
from tierline.fleet.gateway_objects import gateway_name
from tierline.fleet.guests import Guests, guests, guests_of
from tierline.fleet.observed import Manifest, ObjectIdentity
from tierline.fleet.reading import read_identity
from tierline.fleet.wanted import Images, WantedFleet
from tierline.fleet.wanting import forbidden_changes, wanted_fleet
from tierline_operator.declarations import read_declared
from tierline_operator.kinds import DEPLOYMENT, FLEET_CHILDREN, LLM_FLEET, SLO_TIER, TENANT_QUOTA, WORKER_POOL
from tierline_operator.stores import Stores


def observe_fleet(stores: Stores, live: Manifest, images: Images) -> FleetObservation:
    """Return everything that a fleet's plan depends on."""
    fleet = read_identity(live)
    tiers = valid_tiers(stores)
    wanted, problems = read_wanted_fleet(live, tiers)
    forbidden = forbidden_changes(wanted, _pools_to_change(stores, fleet, wanted)) if wanted else ()
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
        guests=_guests(stores, live),
        hosts=_hosts(stores, fleet),
    )


def valid_tiers(stores: Stores) -> dict[str, SLOTier]:
    """Return the tiers that can be used, by name."""
    tiers: dict[str, SLOTier] = {}
    for obj in stores[SLO_TIER].all():
        try:
            tiers[obj["metadata"]["name"]] = read_declared(SLOTier, obj)
        except InvalidResource:
            continue
    return tiers


def find_fleet(stores: Stores, namespace: str, name: str) -> Manifest | None:
    return stores[LLM_FLEET].get(namespace, name)


def read_wanted_fleet(live: Manifest, tiers: dict[str, SLOTier]) -> tuple[WantedFleet | None, tuple[str, ...]]:
    """Return what a fleet asks for; None, and what to put right, when its spec cannot be used."""
    try:
        fleet = read_declared(LLMFleet, live)
    except InvalidResource as invalid:
        return None, sentences(invalid)
    return wanted_fleet(fleet, [tiers[name] for name in fleet.spec.tier_refs if name in tiers]), ()


def _pools_to_change(stores: Stores, fleet: ObjectIdentity, wanted: WantedFleet) -> dict[str, WorkerPool]:
    """Return the fleet's pools to which something else was applied than what the fleet wants now."""
    by_name = {pool.name: pool for pool in wanted.pools}
    pools: dict[str, WorkerPool] = {}
    for obj in stores[WORKER_POOL].owned_by(fleet.uid):
        pool = by_name.get(obj["metadata"]["name"])
        if pool is not None and was_applied(fleet, pool, obj):
            continue
        try:
            pools[obj["metadata"]["name"]] = read_declared(WorkerPool, obj)
        except InvalidResource:
            continue
    return pools


def sentences(invalid: InvalidResource) -> tuple[str, ...]:
    """Return what is wrong, one sentence a problem, without their full stops."""
    return tuple(str(problem).rstrip(".") for problem in invalid.problems)


def _guests(stores: Stores, live: Manifest) -> Guests:
    """Return what there is of the fleets that this one's gateway is to serve, too."""
    namespace, own, refs = live["metadata"]["namespace"], live["metadata"]["name"], guests_of(live)
    models: dict[str, str] = {}
    for name in (own, *refs) if refs else ():
        found = find_fleet(stores, namespace, name)
        try:
            models |= {name: read_declared(LLMFleet, found).served_name} if found is not None else {}
        except InvalidResource:
            continue
    return guests(own, refs, models)


def _hosts(stores: Stores, fleet: ObjectIdentity) -> dict[str, int]:
    """Return the fleets whose gateways serve this one, too, and how many gateways of each are ready."""
    found: dict[str, int] = {}
    for host in stores.hosts(fleet.namespace, fleet.name):
        deployment = stores[DEPLOYMENT].get(fleet.namespace, gateway_name(host)) or {}
        found[host] = int(deployment.get("status", {}).get("readyReplicas", 0))
    return found


def _secret_names(stores: Stores, namespace: str) -> tuple[str, ...]:
    names: set[str] = set()
    for obj in stores[TENANT_QUOTA].all(namespace):
        try:
            quota = read_declared(TenantQuota, obj)
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
