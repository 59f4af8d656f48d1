"""Writes to the API server. Every answer is noted in the stores before the next plan is made."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tierline.api.names import ANNOTATION_EVACUATE_BY, FIELD_MANAGER, STATUS_FIELD_MANAGER, TAINT_SPOT_NOTICE
from tierline.fleet.observed import Manifest, ObjectIdentity, ObservedPod, Reference
from tierline.fleet.pool_plan import Evacuation, PodRemoval
from tierline.fleet.verdicts import Notice
from tierline.fleet.worker_pod import owner_reference
from tierline_operator.cluster import APPLY, MERGE_PATCH, ApiError, Call, Cluster
from tierline_operator.kinds import BY_KIND, CONTROLLER_REVISION, EVENT, NODE, POD, WORKER_POOL, ResourceKind
from tierline_operator.lanes import Lane, Lanes
from tierline_operator.metrics import Metrics
from tierline_operator.stores import Stores
from tierline_operator.wakes import WakeKey

log = logging.getLogger(__name__)

EVENT_MESSAGE_LIMIT = 1000
NO_VERSION = "1"
"""No object ever has it: etcd's first write makes revision 2. An apply compares versions only with what is there."""

_WORKERS_NEED = frozenset({WORKER_POOL.kind, CONTROLLER_REVISION.kind, POD.kind, NODE.kind})


class Actuator:
    """Carries out single steps of plans. All of them may be repeated; deletes hit only the object that was meant."""

    def __init__(self, cluster: Cluster, stores: Stores, metrics: Metrics, identity: str) -> None:
        self._cluster = cluster
        self._stores = stores
        self._metrics = metrics
        self._identity = identity
        self._lanes = Lanes()

    async def apply(self, manifest: Manifest, only_new: bool = False) -> None:
        """Make the object say what the manifest says; what others added stays.

        With `only_new` an object that is there already is left as it is, and the call raises a conflict (409).
        """
        kind, metadata = BY_KIND[manifest["kind"]], manifest["metadata"]
        if only_new:
            manifest = {**manifest, "metadata": {**metadata, "resourceVersion": NO_VERSION}}
        path = kind.path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        await self._write(kind, Call("PATCH", path, query, manifest, APPLY))

    async def find(self, kind: ResourceKind, namespace: str, name: str) -> Manifest | None:
        """Ask the server for an object that the stores do not know, which may be there without our label."""
        try:
            async with self._lanes.turn(Lane.WORKERS):
                return await self._cluster.request(Call("GET", kind.path(namespace, name)))
        except ApiError as error:
            if error.status != 404:
                raise
        return None

    async def create(self, manifest: Manifest) -> None:
        """Create the object; one of that name that is there already is left alone."""
        kind, metadata = BY_KIND[manifest["kind"]], manifest["metadata"]
        try:
            await self._write(
                kind, Call("POST", kind.path(metadata["namespace"]), {"fieldManager": FIELD_MANAGER}, manifest)
            )
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            log.info("%s %s is there already", kind.kind, metadata["name"])

    async def scale(self, namespace: str, pool: str, replicas: int) -> None:
        """Write a pool's replicas through its `scale` subresource; one that is not there needs none."""
        path = WORKER_POOL.path(namespace, pool, "scale")
        body = {"spec": {"replicas": replicas}}
        try:
            await self._write(WORKER_POOL, Call("PATCH", path, body=body, content_type=MERGE_PATCH))
        except ApiError as error:
            if error.status != 404:
                raise

    async def delete(self, reference: Reference, grace_seconds: int | None = None) -> None:
        """Delete exactly the referenced object; one that is gone already is fine."""
        kind = BY_KIND[reference.kind]
        body: dict[str, Any] = {"preconditions": {"uid": reference.uid}, "propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            await self._write(kind, Call("DELETE", kind.path(reference.namespace, reference.name), body=body))
        except ApiError as error:
            if error.status not in {404, 409}:
                raise

    async def remove_pod(self, namespace: str, removal: PodRemoval) -> None:
        """Delete a worker; without waiting for its node only when the server confirms that the node is gone."""
        log.info("removing worker %s/%s: %s", namespace, removal.name, removal.why)
        lost = bool(removal.lost_node) and await self._is_gone(removal.lost_node)
        if removal.lost_node and not lost:
            return
        await self.delete(Reference(POD.kind, namespace, removal.name, removal.uid), 0 if lost else None)

    async def announce_reclaim(self, node: str, deadline_s: str) -> None:
        """Put a reclaim notice on a node, beside the taints of others."""
        await self._notice(node, [{"key": TAINT_SPOT_NOTICE, "value": deadline_s, "effect": "NoSchedule"}])

    async def take_notice_back(self, node: str) -> None:
        """Take the reclaim notice off a node."""
        await self._notice(node, [])

    async def _notice(self, node: str, notices: list[dict[str, str]]) -> None:
        """Taints are one list that is replaced as a whole: others' taints are read anew, and a race is lost (409)."""
        live = await self.find(NODE, "", node)
        if live is None:
            return
        others = [taint for taint in live["spec"].get("taints", ()) if taint["key"] != TAINT_SPOT_NOTICE]
        version = {"resourceVersion": live["metadata"]["resourceVersion"]}
        body = {"metadata": version, "spec": {"taints": [*others, *notices]}}
        await self._write(NODE, Call("PATCH", NODE.path(name=node), body=body, content_type=MERGE_PATCH))

    async def relabel(self, namespace: str, name: str, uid: str, labels: Mapping[str, str]) -> None:
        """Give a worker the labels back by which gateways and budgets find it."""
        await self._patch_pod(namespace, name, {"metadata": {"uid": uid, "labels": labels}})

    async def rehome(self, pool: ObjectIdentity, pod: ObservedPod, labels: Mapping[str, str]) -> None:
        """Give a worker to another pool: its owner and labels change in one write, its process does not notice."""
        metadata = {"uid": pod.uid, "labels": labels, "ownerReferences": [owner_reference(pool)]}
        await self._patch_pod(pool.namespace, pod.name, {"metadata": metadata})

    async def publish_deadline(self, namespace: str, evacuation: Evacuation) -> None:
        """Annotate a worker with the time by which its streams must have left, or take that back."""
        deadline = None if evacuation.deadline_ms is None else str(evacuation.deadline_ms)
        body = {"metadata": {"uid": evacuation.uid, "annotations": {ANNOTATION_EVACUATE_BY: deadline}}}
        await self._patch_pod(namespace, evacuation.name, body)

    async def _patch_pod(self, namespace: str, name: str, body: Mapping[str, Any]) -> None:
        """Patch a pod; one that is gone, or another one by now, is left alone."""
        try:
            path = POD.path(namespace, name)
            await self._write(POD, Call("PATCH", path, body=body, content_type=MERGE_PATCH))
        except ApiError as error:
            if error.status not in {404, 409}:
                raise

    async def write_status(
        self,
        owner: ObjectIdentity,
        live: Manifest,
        status: Mapping[str, Any],
        fenced: bool = False,
        ends_look: bool = False,
    ) -> None:
        """Write a status whose meaning has changed. `fenced` refuses (409) when our view of the object is old.

        With `ends_look` the owner is looked at again only if the answer says more than what was written and seen.
        """
        if live.get("status") == status:
            return
        kind = BY_KIND[owner.kind]
        metadata: dict[str, Any] = {"name": owner.name, "uid": owner.uid}
        if kind.namespaced:
            metadata["namespace"] = owner.namespace
        if fenced:
            metadata["resourceVersion"] = live["metadata"]["resourceVersion"]
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "status": status}
        query = {"fieldManager": STATUS_FIELD_MANAGER, "force": "true"}
        path = kind.path(owner.namespace, owner.name, "status")
        # What is fenced is recorded before workers are made or moved, and they wait for it.
        lane = Lane.WORKERS if fenced else Lane.WORDS
        answer = await self._send(kind, Call("PATCH", path, query, body, APPLY), lane)
        known = ends_look and answer.get("status") == status and _declared(answer) == _declared(live)
        self._stores.note(answer, WakeKey(kind.kind, owner.namespace, owner.name) if known else None)

    async def post_event(self, owner: ObjectIdentity, notice: Notice) -> None:
        """Post an Event; losing one is not worth failing for."""
        kind, now = BY_KIND[owner.kind], datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{owner.name}.", "namespace": owner.namespace or "default"},
            "involvedObject": {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "name": owner.name,
                "uid": owner.uid,
                **({"namespace": owner.namespace} if owner.namespace else {}),
            },
            "type": notice.type,
            "reason": notice.reason,
            "message": notice.message[:EVENT_MESSAGE_LIMIT],
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._identity,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._write(EVENT, Call("POST", EVENT.path(owner.namespace or "default"), body=body), Lane.WORDS)
        except ApiError as error:
            log.warning("no Event for %s %s: %s", owner.kind, owner.name, error)

    async def _is_gone(self, node: str) -> bool:
        try:
            await self._cluster.request(Call("GET", NODE.path(name=node)))
        except ApiError as error:
            return error.status == 404
        return False

    async def _write(self, kind: ResourceKind, call: Call, lane: Lane | None = None) -> None:
        self._stores.note(await self._send(kind, call, lane))

    async def _send(self, kind: ResourceKind, call: Call, lane: Lane | None = None) -> Manifest:
        """Make a write in its lane, which follows from its kind unless one is given; returns the answer."""
        usual = Lane.WORKERS if kind.kind in _WORKERS_NEED else Lane.CHILDREN
        async with self._lanes.turn(usual if lane is None else lane):
            answer = await self._cluster.request(call)
        self._metrics.writes.labels(call.method.lower(), kind.kind).inc()
        return answer


def _declared(live: Manifest) -> Manifest:
    """Return an object without its status and what each write to it changes."""
    metadata = {name: it for name, it in live["metadata"].items() if name not in {"managedFields", "resourceVersion"}}
    return {"spec": live.get("spec"), "metadata": metadata}
