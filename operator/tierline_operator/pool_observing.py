"""From the stores to what is planned for a pool."""

from collections.abc import Mapping
from dataclasses import dataclass

from tierline.api.names import LABEL_COMPONENT, LABEL_FLEET, label_value
from tierline.api.pool import WorkerPool
from tierline.api.problems import InvalidResource
from tierline.api.tier_targets import attainment_percent
from tierline.fleet.drift import ANNOTATION_APPLIED
from tierline.fleet.gateway_objects import COMPONENT_GATEWAY
from tierline.fleet.observed import Manifest
from tierline.fleet.pool_plan import PoolObservation
from tierline.fleet.reading import read_identity, read_node, read_pod
from tierline.fleet.rollout.revision_history import templates_of
from tierline.fleet.rollout.steps import RolloutPolicy
from tierline.fleet.wanted import Images
from tierline.fleet.wanting import rollout_policy, wanted_worker
from tierline.fleet.worker_pod import template_revision, worker_template
from tierline_operator.declarations import read_declared
from tierline_operator.kinds import CONTROLLER_REVISION, LLM_FLEET, NODE, POD, WORKER_POOL
from tierline_operator.observing import find_fleet, read_wanted_fleet, sentences, valid_tiers
from tierline_operator.stores import Stores

ORPHAN_POOL = (
    "metadata.ownerReferences names no LLMFleet: pools are made by their fleet; delete this one and declare it in "
    "spec.pools of a fleet"
)


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool with all that its loop looks at. `template` is the pod wanted now, None when it cannot be known.

    `problems` say what to put right then. `pods` are its pods as they are, `history` the kept revisions.
    """

    seen: PoolObservation
    fleet: str
    policy: RolloutPolicy
    template: Manifest | None = None
    problems: tuple[str, ...] = ()
    pods: tuple[Manifest, ...] = ()
    history: tuple[Manifest, ...] = ()

    @property
    def templates(self) -> Mapping[str, Manifest]:
        return templates_of(self.history)


def observe_pool(stores: Stores, live: Manifest, images: Images, now_ms: int) -> PoolView:
    """Return everything that a pool's plan depends on."""
    pool = read_identity(live)
    parsed, problems = _read_pool(live)
    fleet = parsed.spec.fleet_ref if parsed else str(live["spec"].get("fleetRef", ""))
    template = worker_template(pool, fleet, wanted_worker(parsed), images) if parsed else None
    policy = rollout_policy(parsed) if parsed else RolloutPolicy()
    live_pods = stores[POD].owned_by(pool.uid)
    pods = tuple(read_pod(obj) for obj in live_pods)
    nodes = {name: stores[NODE].get("", name) for name in {pod.node for pod in pods}}
    seen = PoolObservation(
        pool=pool,
        now_ms=now_ms,
        replicas=_replicas_within_bounds(stores, live),
        last_attempt=int(live.get("status", {}).get("lastAttempt", 0)),
        revision=template_revision(template) if template else None,
        pods=pods,
        nodes={name: read_node(obj) for name, obj in nodes.items() if obj is not None},
        max_surge=policy.max_surge,
        max_unavailable=policy.max_unavailable,
    )
    history = stores[CONTROLLER_REVISION].owned_by(pool.uid)
    return PoolView(seen, fleet, policy, template, problems, live_pods, history)


def find_pool(stores: Stores, namespace: str, name: str) -> Manifest | None:
    """Return a pool to look after; one that its fleet has not finished writing is left alone."""
    live = stores[WORKER_POOL].get(namespace, name)
    if live is None:
        return None
    complete = ANNOTATION_APPLIED in live["metadata"].get("annotations", {}) and "replicas" in live["spec"]
    return live if complete or not _belongs_to_a_fleet(live) else None


def gateways_of(stores: Stores, namespace: str, fleet: str) -> Mapping[str, str]:
    """Return the addresses of the running gateways that serve a fleet, by pod."""
    fleets = {label_value(name) for name in (fleet, *stores.hosts(namespace, fleet))}
    return {
        pod["metadata"]["name"]: pod["status"]["podIP"]
        for pod in stores[POD].all(namespace)
        if pod["metadata"].get("labels", {}).get(LABEL_COMPONENT) == COMPONENT_GATEWAY
        and pod["metadata"]["labels"].get(LABEL_FLEET) in fleets
        and pod.get("status", {}).get("phase") == "Running"
        and pod["status"].get("podIP")
    }


def attainment_of(stores: Stores, namespace: str, fleet: str) -> Mapping[str, int]:
    """Return the share of requests that must meet their targets, in percent, by tier of the fleet."""
    live = find_fleet(stores, namespace, fleet)
    wanted = read_wanted_fleet(live, {})[0] if live is not None else None
    tiers = valid_tiers(stores)
    refs = wanted.tier_refs if wanted else ()
    return {name: attainment_percent(tiers[name].spec) for name in refs if name in tiers}


def _read_pool(live: Manifest) -> tuple[WorkerPool | None, tuple[str, ...]]:
    if not _belongs_to_a_fleet(live):
        return None, (ORPHAN_POOL,)
    try:
        return read_declared(WorkerPool, live), ()
    except InvalidResource as invalid:
        return None, sentences(invalid)


def _belongs_to_a_fleet(live: Manifest) -> bool:
    return any(owner["kind"] == LLM_FLEET.kind for owner in live["metadata"].get("ownerReferences", ()))


def _replicas_within_bounds(stores: Stores, live: Manifest) -> int:
    """The fleet's bounds hold at once, not only when the fleet's own loop has written them back into the pool."""
    replicas = int(live["spec"].get("replicas", 0))
    fleet = stores[LLM_FLEET].get(live["metadata"]["namespace"], live["spec"].get("fleetRef", ""))
    wanted = read_wanted_fleet(fleet, {})[0] if fleet is not None else None
    if wanted is None or not wanted.scales:
        return replicas
    pool = next((it for it in wanted.pools if it.name == live["metadata"]["name"]), None)
    return pool.bounded(replicas) if pool is not None else replicas
