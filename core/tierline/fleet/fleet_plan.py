"""What a fleet needs in the cluster: its pools, its gateway, and the statements in its status.

Nothing that runs is stopped because of what cannot be understood: with an invalid spec nothing is written but the
status, and while a tier is missing existing pools are left exactly as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tierline.api.names import (
    API_VERSION,
    FINALIZER,
    LABEL_COMPONENT,
    LABEL_FLEET,
    LABEL_MANAGED_BY,
    MANAGED_BY,
    label_value,
)
from tierline.fleet.drift import ANNOTATION_APPLIED, has_drifted, stamped
from tierline.fleet.gateway_objects import gateway_name, gateway_objects
from tierline.fleet.guests import Guests
from tierline.fleet.observed import Manifest, ObjectIdentity, Reference
from tierline.fleet.wanted import Images, WantedFleet, WantedPool
from tierline.fleet.worker_pod import owner_reference

COMPONENT_POOL = "pool"


@dataclass(frozen=True, slots=True)
class ChildKey:
    """A child by kind and name; it lives in the fleet's namespace."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class FleetObservation:
    """A fleet and everything in its namespace that it may own, as live objects.

    `wanted` is None when the spec cannot be used; `problems` then says what to put right. `known_tiers` are the
    tiers that exist. `secret_names` hold the API keys of the namespace's tenants. `strangers` are names of children
    that somebody else's objects bear, without our label. `guests` are the fleets that its gateway serves, too, `hosts`
    those whose gateways serve this one, with how many of them are ready.
    """

    fleet: ObjectIdentity
    wanted: WantedFleet | None
    images: Images
    known_tiers: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()
    secret_names: tuple[str, ...] = ()
    children: Mapping[ChildKey, Manifest] = field(default_factory=dict)
    strangers: frozenset[ChildKey] = frozenset()
    guests: Guests = field(default_factory=Guests)
    hosts: Mapping[str, int] = field(default_factory=dict)

    @property
    def missing_tiers(self) -> tuple[tuple[int, str], ...]:
        """Index and name of every reference that leads nowhere."""
        refs = self.wanted.tier_refs if self.wanted else ()
        return tuple((index, name) for index, name in enumerate(refs) if name not in self.known_tiers)

    @property
    def pools(self) -> dict[str, Manifest]:
        """The fleet's own pools that are here to stay, by name."""
        return {
            key.name: live
            for key, live in self.children.items()
            if key.kind == "WorkerPool" and owns(self.fleet, live) and "deletionTimestamp" not in live["metadata"]
        }

    def leaving(self, key: ChildKey) -> bool:
        """Say whether a child of that name is being deleted: its successor has to wait."""
        return "deletionTimestamp" in self.children.get(key, {}).get("metadata", {})

    def taken(self) -> tuple[ChildKey, ...]:
        """Children's names that belong to somebody else."""
        return tuple(key for key in wanted_keys(self) if key in self.strangers or self._is_foreign(key))

    def absent(self) -> tuple[ChildKey, ...]:
        """Children that we do not know to exist."""
        return tuple(key for key in wanted_keys(self) if key not in self.children)

    def _is_foreign(self, key: ChildKey) -> bool:
        if key not in self.children:
            return False
        live = self.children[key]
        controllers = [it for it in live["metadata"].get("ownerReferences", ()) if it.get("controller")]
        return any(it["uid"] != self.fleet.uid for it in controllers)


@dataclass(frozen=True, slots=True)
class ScalePool:
    """Write a pool's replicas, through its `scale` subresource."""

    name: str
    replicas: int


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What to write, in this order: `applies`, `scales`, `deletes`. The pools are the first of `applies`."""

    applies: tuple[Manifest, ...] = ()
    scales: tuple[ScalePool, ...] = ()
    deletes: tuple[Reference, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.applies or self.scales or self.deletes)


def plan_fleet(seen: FleetObservation) -> FleetPlan:
    """Return the writes that bring the fleet's children to what its spec says."""
    if seen.fleet.deleting or seen.wanted is None or seen.taken():
        return FleetPlan()
    if seen.missing_tiers and not seen.pools:
        return FleetPlan()
    applied = _pools_to_apply(seen, seen.wanted)
    wanted = seen.wanted
    gateway = gateway_objects(
        seen.fleet,
        wanted.gateway_replicas,
        seen.secret_names,
        seen.images,
        state_store=wanted.state_store,
        processes=wanted.gateway_processes,
        answers=wanted.answers,
    )
    candidates = (*applied, *(stamped(it) for it in gateway))
    return FleetPlan(
        applies=tuple(it for it in candidates if _needs_apply(seen, it)),
        scales=_scales(seen, seen.wanted),
        deletes=_deletes(seen, seen.wanted),
    )


def wanted_keys(seen: FleetObservation) -> tuple[ChildKey, ...]:
    """Every child that the fleet should have."""
    if seen.wanted is None:
        return ()
    gateway = ("ServiceAccount", "Role", "RoleBinding", "Service", "Deployment")
    return (
        *(ChildKey("WorkerPool", pool.name) for pool in seen.wanted.pools),
        *(ChildKey(kind, gateway_name(seen.fleet.name)) for kind in gateway),
    )


def was_applied(fleet: ObjectIdentity, pool: WantedPool, live: Manifest) -> bool:
    """Say whether exactly what is wanted of a pool was applied to it: what differs since is somebody else's doing."""
    wanted = stamped(_pool_manifest(fleet, pool))["metadata"]["annotations"][ANNOTATION_APPLIED]
    return bool(live["metadata"].get("annotations", {}).get(ANNOTATION_APPLIED) == wanted)


def owns(owner: ObjectIdentity, live: Manifest) -> bool:
    return any(it["uid"] == owner.uid for it in live["metadata"].get("ownerReferences", ()))


def _needs_apply(seen: FleetObservation, manifest: Manifest) -> bool:
    key = _key_of(manifest)
    return not seen.leaving(key) and has_drifted(seen.children.get(key), manifest)


def _key_of(manifest: Manifest) -> ChildKey:
    return ChildKey(manifest["kind"], manifest["metadata"]["name"])


def _pools_to_apply(seen: FleetObservation, wanted: WantedFleet) -> tuple[Manifest, ...]:
    # A missing tier says nothing about spot: placing by what is left of the tiers would move workers for no reason.
    held = seen.pools if seen.missing_tiers else {}
    return tuple(stamped(_pool_manifest(seen.fleet, pool)) for pool in wanted.pools if pool.name not in held)


def _pool_manifest(fleet: ObjectIdentity, pool: WantedPool) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkerPool",
        "metadata": {
            "name": pool.name,
            "namespace": fleet.namespace,
            "labels": {
                LABEL_MANAGED_BY: MANAGED_BY,
                LABEL_FLEET: label_value(fleet.name),
                LABEL_COMPONENT: COMPONENT_POOL,
            },
            "ownerReferences": [owner_reference(fleet)],
            # There from the start: a pool that gets it later changes under the first look at it.
            "finalizers": [FINALIZER],
        },
        "spec": pool.spec,
    }


def _scales(seen: FleetObservation, wanted: WantedFleet) -> tuple[ScalePool, ...]:
    """Replicas are never applied, since what is applied is the applier's own, and autoscalers must have them.

    So a pool is made without them, and gets its first ones here, whoever scales it later.
    """
    staying = (pool for pool in wanted.pools if not seen.leaving(ChildKey("WorkerPool", pool.name)))
    targets = ((pool.name, *_replicas(seen.pools.get(pool.name), pool, wanted.scales)) for pool in staying)
    return tuple(ScalePool(name, target) for name, now, target in targets if target != now)


def _replicas(live: Manifest | None, pool: WantedPool, scales: bool) -> tuple[int | None, int]:
    """Return what a pool was given, if it was, and what it should have: autoscalers want to read a 0 too."""
    given = live["spec"].get("replicas") if live is not None else None
    if given is None:
        return None, pool.min_replicas
    return int(given), pool.bounded(int(given)) if scales else int(given)


def _deletes(seen: FleetObservation, wanted: WantedFleet) -> tuple[Reference, ...]:
    names = {pool.name for pool in wanted.pools}
    return tuple(
        Reference("WorkerPool", seen.fleet.namespace, name, live["metadata"]["uid"])
        for name, live in seen.pools.items()
        if name not in names
    )
