"""The operator's picture of the cluster: one store per kind, fed from the API server, waking whom a change concerns."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

from tierline.api.names import GROUP
from tierline.fleet.guests import guests_of
from tierline.fleet.observed import ObservedNode
from tierline.fleet.reading import read_node, read_pod
from tierline_operator.cluster import Cluster
from tierline_operator.feed import Feed
from tierline_operator.heartbeats import without_heartbeats
from tierline_operator.kinds import (
    BY_KIND,
    DEPLOYMENT,
    LLM_FLEET,
    LORA_ADAPTER,
    POD,
    WATCHED,
    WORKER_POOL,
    ResourceKind,
)
from tierline_operator.store import Object, Store
from tierline_operator.wakes import WakeKey, Wakes

POLICY_KINDS = frozenset({"SLOTier", "TenantQuota"})
POLICY_KEY = WakeKey("Policy", "", "")
"""The one loop that looks after all tiers, quotas and adapters' words."""

ADAPTERS = "Adapters"
"""Each fleet has a loop of this kind, which looks after the adapters that its workers hold."""


class Stores:
    """All stores by kind. `run` keeps them fed; `synced` says whether every one has been filled once.

    `changes` grows with every change that is more than a heartbeat of a node.
    """

    def __init__(self, cluster: Cluster, namespaces: tuple[str, ...], wakes: Wakes) -> None:
        self._wakes = wakes
        self.changes = 0
        self._known_to: WakeKey | None = None
        self._served_by: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._stores = {kind.kind: Store(partial(self._changed, kind)) for kind in WATCHED}
        self._feeds = tuple(
            Feed(cluster, kind, self._stores[kind.kind], namespace)
            for kind in WATCHED
            for namespace in ((namespaces or (None,)) if kind.namespaced else (None,))
        )

    def __getitem__(self, kind: ResourceKind) -> Store:
        return self._stores[kind.kind]

    def note(self, obj: Object, known_to: WakeKey | None = None) -> None:
        """Take over the server's answer to one of our writes. `known_to` looked at all that it says: it sleeps on."""
        if obj.get("kind") in self._stores:
            self._known_to = known_to
            self._stores[obj["kind"]].note(obj)
            self._known_to = None

    def hosts(self, namespace: str, fleet: str) -> tuple[str, ...]:
        """Return the fleets whose gateways serve this one, too."""
        return tuple(sorted(self._served_by.get((namespace, fleet), ())))

    @property
    def synced(self) -> bool:
        return all(feed.synced.is_set() for feed in self._feeds)

    async def wait_synced(self) -> None:
        for feed in self._feeds:
            await feed.synced.wait()

    async def run(self) -> None:
        """Feed all stores; never returns."""
        async with asyncio.TaskGroup() as group:
            for feed in self._feeds:
                group.create_task(feed.run())

    def _wake_adapters(self, namespace: str, before: Object | None, now: Object | None) -> None:
        """A worker that has got ready, or started anew, may be given adapters."""
        changed = _takes_adapters(before) != _takes_adapters(now)
        for owner in (now or before or {})["metadata"].get("ownerReferences", ()) if changed else ():
            pool = self[WORKER_POOL].get(namespace, owner["name"])
            if pool is not None:
                self._wakes.wake(WakeKey(ADAPTERS, namespace, pool["spec"].get("fleetRef", "")))

    def _wake_governed(self, namespace: str, before: Object | None, now: Object | None) -> None:
        self._wakes.wake(POLICY_KEY)
        if (before or {}).get("spec") != (now or {}).get("spec"):
            self._wakes.wake_kind(LLM_FLEET.kind, namespace or None)

    def _changed(self, kind: ResourceKind, before: Object | None, now: Object | None) -> None:
        obj = now if now is not None else before
        if obj is not None and not _is_heartbeat(kind.kind, before, now):
            self.changes += 1
            self._route(kind.kind, obj, before, now)

    def _route(self, kind: str, obj: Object, before: Object | None, now: Object | None) -> None:
        namespace = obj["metadata"].get("namespace", "")
        if kind == "Node":
            if _node_view(before) != _node_view(now):
                self._wakes.wake_kind("WorkerPool")
            return
        if kind == LORA_ADAPTER.kind:
            self._wakes.wake(POLICY_KEY)
            for fleet in {*_fleets_of(now), *_fleets_of(before)}:
                self._wakes.wake(WakeKey(ADAPTERS, namespace, fleet))
            return
        if kind == POD.kind:
            self._wake_adapters(namespace, before, now)
        if kind in POLICY_KINDS:
            self._wake_governed(namespace, before, now)
            return
        # A former owner too: a child that was taken away from it has to be taken back.
        for key in {*_concerned(kind, obj), *_concerned(kind, before or obj)} - {self._known_to}:
            self._wakes.wake(key)
        if kind == LLM_FLEET.kind and (before or {}).get("spec") != (now or {}).get("spec"):
            self._note_guests(namespace, obj["metadata"]["name"], before, now)
            hosts = self.hosts(namespace, obj["metadata"]["name"])
            self._wake_fleets(namespace, {*guests_of(obj), *guests_of(before or obj), *hosts})
        if kind == DEPLOYMENT.kind:
            # Whoever is served by these gateways becomes available with them.
            owners = (self[LLM_FLEET].get(namespace, it["name"]) for it in obj["metadata"].get("ownerReferences", ()))
            self._wake_fleets(namespace, {guest for owner in owners if owner is not None for guest in guests_of(owner)})

    def _note_guests(self, namespace: str, host: str, before: Object | None, now: Object | None) -> None:
        """Kept as fleets change: to ask all of them at each look at one costs by how many there are."""
        for guest in guests_of(before) if before is not None else ():
            self._served_by[namespace, guest].discard(host)
            if not self._served_by[namespace, guest]:
                del self._served_by[namespace, guest]
        for guest in guests_of(now) if now is not None else ():
            self._served_by[namespace, guest].add(host)

    def _wake_fleets(self, namespace: str, names: Iterable[str]) -> None:
        for name in names:
            self._wakes.wake(WakeKey(LLM_FLEET.kind, namespace, name))


def _is_heartbeat(kind: str, before: Object | None, now: Object | None) -> bool:
    if kind != "Node" or before is None or now is None:
        return False
    return without_heartbeats(before) == without_heartbeats(now)


def _takes_adapters(pod: Object | None) -> tuple[Any, ...]:
    """Return what tells one ready worker process from another; nothing while a pod is none."""
    if pod is None or not (seen := read_pod(pod)).ready or seen.terminating:
        return ()
    status, owners = pod["status"], pod["metadata"].get("ownerReferences", ())
    starts = [it.get("restartCount", 0) for it in status.get("containerStatuses", ())]
    return (seen.uid, status.get("podIP", ""), starts, [it["uid"] for it in owners])


def _fleets_of(adapter: Object | None) -> tuple[str, ...]:
    return tuple((adapter or {}).get("spec", {}).get("fleetRefs", ()))


def _concerned(kind: str, obj: Object) -> Iterable[WakeKey]:
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    if BY_KIND[kind].group == GROUP:
        yield WakeKey(kind, namespace, metadata["name"])
    for owner in metadata.get("ownerReferences", ()):
        yield WakeKey(owner["kind"], namespace, owner["name"])


def _node_view(obj: Object | None) -> ObservedNode | None:
    # Heartbeats change a node every few seconds without changing what it means for a worker.
    return None if obj is None else read_node(obj)
