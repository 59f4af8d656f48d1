"""From the stores to what is planned for fleets: which there are, their pods, tiers and pools."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from tierline.api.decision_matrix import DECISION_MATRIX
from tierline.api.fleet import LLMFleet
from tierline.api.names import LABEL_ACCELERATOR, LABEL_COMPONENT, LABEL_FLEET, label_value
from tierline.api.pool import WorkerPool
from tierline.api.problems import InvalidResource
from tierline.api.quota import TenantQuota
from tierline.api.tier import SLOTier
from tierline.fleet.gateway_objects import COMPONENT_GATEWAY
from tierline.fleet.guests import hosts
from tierline.fleet.observed import Manifest
from tierline.fleet.placement.market import Supply
from tierline.fleet.placement.planner import PlacedPod
from tierline.fleet.placement.room import Need
from tierline.fleet.placement.room_reading import placed_pod, read_need
from tierline.fleet.placement.spot_history import SpotHistory
from tierline.fleet.scaling.claims import Claim, Waiting
from tierline.fleet.scaling.cold_starts import COUNTED_MS, StartSight
from tierline.fleet.scaling.fleet_load import PoolFacts
from tierline.fleet.scaling.signals import FleetTraffic
from tierline.fleet.scaling.start_reading import read_start
from tierline.fleet.scaling.status import WaitingWorkers
from tierline.fleet.wanted import Capacity
from tierline.fleet.wanting import placement_terms
from tierline_operator.capacity.book import FleetKey
from tierline_operator.capacity.remembered import Remembered
from tierline_operator.capacity.sources import FleetPods
from tierline_operator.declarations import read_declared
from tierline_operator.drill_reconciling import is_blacked_out
from tierline_operator.heartbeats import without_heartbeats
from tierline_operator.kinds import LLM_FLEET, NODE, POD, SLO_TIER, TENANT_QUOTA, WORKER_POOL
from tierline_operator.observing import valid_tiers
from tierline_operator.pool_observing import find_pool
from tierline_operator.stores import Stores


@dataclass(frozen=True, slots=True)
class Scene:
    """A fleet whose spec can be used, as it stands: its tiers that exist, its pools, its workers by pool.

    `uids` are those of its workers by name, `starts` how far young ones have come, `needs` what one of each pool asks
    for.
    """

    key: FleetKey
    fleet: LLMFleet
    tiers: Mapping[str, SLOTier]
    pools: Mapping[str, PoolFacts]
    workers: Mapping[str, tuple[PlacedPod, ...]]
    accelerators: Mapping[str, str]
    pods: FleetPods
    uids: Mapping[str, str]
    starts: tuple[StartSight, ...]
    needs: Mapping[str, Need]

    @property
    def scales(self) -> bool:
        return self.fleet.spec.scaling.mode == "Tierline"

    @property
    def priority(self) -> int:
        return max((tier.spec.priority for tier in self.tiers.values()), default=0)

    @property
    def may_give(self) -> bool:
        """Whether every tier of the fleet lets its requests be preempted."""
        return bool(self.tiers) and all(_preemptible(tier) for tier in self.tiers.values())

    def queue(self, traffic: FleetTraffic) -> tuple[Waiting, ...]:
        """Return what waits for the fleet's workers, by tier."""
        told = [(tier.spec.priority, traffic.tiers[name]) for name, tier in self.tiers.items() if name in traffic.tiers]
        return tuple(Waiting(priority, inf if it.due_ms is None else it.due_ms) for priority, it in told if it.queued)

    def claim(self, pool: PoolFacts, wanted: int) -> Claim:
        """Return what a pool claims of the cluster's accelerators when it wants so many workers."""
        spec, name = pool.pool.spec, pool.pool.metadata.name
        return Claim(
            key=(self.key[0], name),
            kind=spec.accelerator or "",
            units=spec.resources.gpu,
            priority=self.priority,
            may_give=self.may_give,
            low=pool.low,
            wanted=wanted,
            held=min(sum(bool(worker.node) for worker in self.workers.get(name, ())), wanted),
        )

    def waiting(self, history: SpotHistory) -> WaitingWorkers:
        """Count workers that have waited too long, and those on demand that stand in for spot."""
        placed = [worker for workers in self.workers.values() for worker in workers]
        late = sum(worker.waiting_ms > history.patience_ms(worker.market) for worker in placed)
        return WaitingWorkers(late, sum(self._stand_ins(pool) for pool in self.pools.values()))

    def _stand_ins(self, facts: PoolFacts) -> int:
        hedge = placement_terms(facts.pool, facts.pool.spec.replicas).hedge
        if hedge.capacity is not Capacity.PREFER_SPOT:
            return 0
        mine = self.workers.get(facts.pool.metadata.name, ())
        return max(sum(worker.supply is Supply.ON_DEMAND for worker in mine) - hedge.floor, 0)


class Scenes:
    """Makes the scene of every fleet that can be planned for, anew only where something of it has changed."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._scenes: Remembered[Scene | None] = Remembered()
        self._nodes: Remembered[Manifest] = Remembered()

    def look(self, now_ms: int) -> tuple[Scene, ...]:
        """Return the scenes as they are now; one that did not change is the same object as before."""
        self._scenes.turn()
        self._nodes.turn()
        fleets, tiers = self._stores[LLM_FLEET].all(), self._stores[SLO_TIER].all()
        around = _Around(valid_tiers(self._stores), _gateways(self._stores, hosts(fleets)), now_ms)
        made = (self._scene(live, around, tiers) for live in fleets if not _leaves(live))
        return tuple(scene for scene in made if scene is not None)

    def _scene(self, live: Manifest, around: "_Around", tiers: tuple[Manifest, ...]) -> Scene | None:
        namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
        names = [f"{name}-{declared.get('name')}" for declared in live["spec"].get("pools", ())]
        pools = [pool for it in names if (pool := self._stores[WORKER_POOL].get(namespace, it)) is not None]
        pods = [pod for pool in pools for pod in self._stores[POD].owned_by(pool["metadata"]["uid"])]
        # A worker without a node waits, and how long is part of its scene.
        waits = not all(pod.get("spec", {}).get("nodeName") for pod in pods)
        hidden = is_blacked_out(self._stores, namespace, name, around.now_ms)
        doors = tuple(sorted(around.gateways.get((namespace, label_value(name)), {}).items()))
        nodes = [self._node(pod) for pod in pods]
        told = (text for door in doors for text in door)
        inputs: tuple[object, ...] = (
            live,
            *tiers,
            *pools,
            *pods,
            *nodes,
            hidden,
            *told,
            *([object()] if waits else []),
        )
        return self._scenes.of((namespace, name), inputs, lambda: _scene(self._stores, live, around, hidden))

    def _node(self, pod: Manifest) -> Manifest | None:
        node = _node_of(self._stores, pod)
        if node is None:
            return None
        return self._nodes.of(node["metadata"]["name"], (node,), lambda: without_heartbeats(node))


@dataclass(frozen=True, slots=True)
class _Around:
    """What the scenes of one look have in common."""

    tiers: Mapping[str, SLOTier]
    gateways: Mapping[tuple[str, str], dict[str, str]]
    now_ms: int


def shares_of(stores: Stores) -> Mapping[str, int]:
    """Return each namespace's share of scarce accelerators: the weights of its tenants together."""
    shares: dict[str, int] = {}
    for obj in stores[TENANT_QUOTA].all():
        try:
            weight = read_declared(TenantQuota, obj).spec.weight
        except InvalidResource:
            continue
        shares[obj["metadata"]["namespace"]] = shares.get(obj["metadata"]["namespace"], 0) + weight
    return shares


def _gateways(
    stores: Stores, served_by: Mapping[tuple[str, str], tuple[str, ...]]
) -> Mapping[tuple[str, str], dict[str, str]]:
    """Return the addresses of running gateways by namespace and label of the fleet that they serve."""
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for pod in stores[POD].all():
        labels, status = pod["metadata"].get("labels", {}), pod.get("status", {})
        if (
            labels.get(LABEL_COMPONENT) == COMPONENT_GATEWAY
            and status.get("phase") == "Running"
            and status.get("podIP")
        ):
            key = (pod["metadata"]["namespace"], labels.get(LABEL_FLEET, ""))
            found[key][pod["metadata"]["name"]] = status["podIP"]
    own = {key: dict(pods) for key, pods in found.items()}
    for (namespace, guest), names in served_by.items():
        for host in names:
            found[namespace, label_value(guest)] |= own.get((namespace, label_value(host)), {})
    return found


def _scene(stores: Stores, live: Manifest, around: _Around, hidden: bool) -> Scene | None:
    try:
        fleet = read_declared(LLMFleet, live)
    except InvalidResource:
        return None
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    mine = {ref: around.tiers[ref] for ref in fleet.spec.tier_refs if ref in around.tiers}
    pools = dict(_pools(stores, fleet, namespace))
    pods = {pool: tuple(_workers(stores, facts)) for pool, facts in pools.items()}
    nodes = {pod["metadata"]["uid"]: _node_of(stores, pod) for found in pods.values() for pod in found}
    workers = {
        pool: tuple(placed_pod(pod, nodes[pod["metadata"]["uid"]], around.now_ms) for pod in found)
        for pool, found in pods.items()
    }
    accelerators = {
        pod["metadata"]["name"]: node["metadata"].get("labels", {}).get(LABEL_ACCELERATOR, "")
        for found in pods.values()
        for pod in found
        if (node := nodes[pod["metadata"]["uid"]]) is not None
    }
    addresses = {
        pod["metadata"]["name"]: pod["status"]["podIP"]
        for found in pods.values()
        for pod in found
        if pod.get("status", {}).get("podIP")
    }
    doors = around.gateways.get((namespace, label_value(name)), {})
    asked = FleetPods((namespace, name), doors, addresses, hidden, fleet.served_name)
    every = [pod for found in pods.values() for pod in found]
    return Scene(
        (namespace, name),
        fleet,
        mine,
        pools,
        workers,
        accelerators,
        asked,
        uids={pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in every},
        starts=tuple(
            read_start(pod, nodes[pod["metadata"]["uid"]], fleet.spec.model.source)
            for pool, found in pods.items()
            for pod, worker in zip(found, workers[pool], strict=True)
            if not worker.ready or worker.age_ms <= COUNTED_MS
        ),
        needs={pool: read_need(found[0]) for pool, found in pods.items() if found},
    )


def _pools(stores: Stores, fleet: LLMFleet, namespace: str) -> Iterable[tuple[str, PoolFacts]]:
    for declared in fleet.spec.pools:
        name = f"{fleet.metadata.name}-{declared.name}"
        live = find_pool(stores, namespace, name)
        if live is None or _leaves(live):
            continue
        try:
            pool = read_declared(WorkerPool, live)
        except InvalidResource:
            continue
        ready = int(live.get("status", {}).get("readyReplicas", 0))
        pods = frozenset(pod["metadata"]["name"] for pod in stores[POD].owned_by(live["metadata"]["uid"]))
        yield name, PoolFacts(pool, ready, pods, declared.replicas.min, declared.replicas.max)


def _workers(stores: Stores, facts: PoolFacts) -> Iterable[Manifest]:
    for pod in stores[POD].owned_by(facts.pool.metadata.uid):
        if not _leaves(pod) and pod.get("status", {}).get("phase") not in {"Failed", "Succeeded"}:
            yield pod


def _node_of(stores: Stores, pod: Manifest) -> Manifest | None:
    return stores[NODE].get("", pod.get("spec", {}).get("nodeName", ""))


def _leaves(obj: Manifest) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def _preemptible(tier: SLOTier) -> bool:
    declared = tier.spec.preemption.preemptible if tier.spec.preemption else None
    return (declared or DECISION_MATRIX[tier.spec.objective].preemptible) == "Allow"
