"""An operator in a thread, a kubelet that only reports, and waiting for conditions, for tests on a real API server."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from tierline.api.names import API_VERSION, LABEL_ACCELERATOR, LABEL_CAPACITY_TYPE, LABEL_ZONE
from tierline_operator.cluster import MERGE_PATCH, ApiError, Call, Cluster
from tierline_operator.feed import TRANSIENT
from tierline_operator.kinds import BY_KIND, LEASE, NODE, POD
from tierline_operator.main import Operator
from tierline_operator.settings import Settings

T = TypeVar("T")
Json = Mapping[str, Any]
HEARTBEAT_SECONDS = 1.0
"""As often as the cluster expects nodes to give a sign of life."""

STRATEGIC_PATCH = "application/strategic-merge-patch+json"


async def eventually(look: Callable[[], Awaitable[T | None]], what: str, seconds: float = 60.0) -> T:
    """Return the first true answer of `look`; fails the test with `what` and the last answer after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        seen = await look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}; last seen: {seen!r}"
        await asyncio.sleep(0.05)


class Objects:
    """Objects of one namespace, by kind and name, through the operator's own client."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    async def get(self, kind: str, name: str) -> dict[str, Any] | None:
        try:
            return await self.cluster.request(Call("GET", BY_KIND[kind].path(self.namespace, name)))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def every(self, kind: str) -> list[dict[str, Any]]:
        items, _ = await self.cluster.list_all(BY_KIND[kind].path(self.namespace), {})
        return items

    async def create(self, obj: Json) -> None:
        await self.cluster.request(Call("POST", BY_KIND[obj["kind"]].path(self.namespace), body=obj))

    async def patch(self, kind: str, name: str, change: Json, subresource: str = "") -> None:
        path = BY_KIND[kind].path(self.namespace, name, subresource)
        await self.cluster.request(Call("PATCH", path, body=change, content_type=MERGE_PATCH))

    async def delete(self, kind: str, name: str) -> None:
        await self.cluster.request(Call("DELETE", BY_KIND[kind].path(self.namespace, name)))

    async def workers(self) -> list[dict[str, Any]]:
        """Return worker pods that are not being deleted, oldest attempt first."""
        pods = [pod for pod in await self.every("Pod") if "deletionTimestamp" not in pod["metadata"]]
        workers = [pod for pod in pods if pod["metadata"]["labels"].get("tierline.dev/pool")]
        return sorted(workers, key=lambda pod: int(pod["metadata"]["name"].rpartition("-")[2]))

    async def condition(self, kind: str, name: str, wanted: str) -> dict[str, Any] | None:
        obj = await self.get(kind, name)
        conditions = (obj or {}).get("status", {}).get("conditions", ())
        return next((it for it in conditions if it["type"] == wanted), None)

    async def until(self, kind: str, name: str, wanted: str, status: str, reason: str = "") -> dict[str, Any]:
        """Wait until a condition has a status (and a reason); returns it."""

        async def there() -> dict[str, Any] | None:
            it = await self.condition(kind, name, wanted)
            return it if it and it["status"] == status and reason in {"", it["reason"]} else None

        return await eventually(there, f"{kind} {name} {wanted}={status} {reason}")

    async def until_workers(self, *names: str) -> None:
        """Wait until exactly these workers exist and are ready."""

        async def there() -> bool:
            pods = await self.workers()
            return [pod["metadata"]["name"] for pod in pods] == list(names) and all(is_ready(pod) for pod in pods)

        await eventually(there, f"workers {names} are ready")

    async def until_events(self, reason: str, kind: str, count: int) -> list[dict[str, Any]]:
        """Wait for at least so many Events about objects of a kind; returns them."""

        async def there() -> list[dict[str, Any]] | None:
            told = [event for event in await self.every("Event") if event["reason"] == reason]
            about = [event for event in told if event["involvedObject"]["kind"] == kind]
            return about if len(about) >= count else None

        return await eventually(there, f"{count} Events {reason} about {kind}")


def is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)


class Kubelet:
    """Nodes without processes: bound pods become ready at once, or crash if `crashes` says so, and end when asked."""

    def __init__(self, cluster: Cluster, objects: Objects, nodes: Iterable[str], accelerator: str) -> None:
        self._cluster = cluster
        self._objects = objects
        self._accelerator = accelerator
        self.nodes = list(nodes)
        self.crashes: Callable[[Json], str | None] = lambda _pod: None
        self.pods_seen: dict[str, str] = {}
        self.pod_ip = ""

    async def add_node(self, name: str, capacity_type: str = "on-demand") -> None:
        labels = {
            LABEL_ACCELERATOR: self._accelerator,
            LABEL_CAPACITY_TYPE: capacity_type,
            LABEL_ZONE: f"zone-{name[-1]}",
            "kubernetes.io/hostname": name,
        }
        await self._cluster.request(
            Call(
                "POST",
                NODE.path(),
                body={"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "labels": labels}},
            )
        )
        await self._report(name)

    async def join(self, name: str, capacity_type: str = "on-demand") -> None:
        """Add a node while the kubelet runs."""
        await self.add_node(name, capacity_type)
        self.nodes.append(name)

    async def run(self) -> None:
        # A node that a test adds meanwhile is that test's: to add it twice would be the end of all nodes.
        for name in tuple(self.nodes):
            await self.add_node(name)
        beat_s = 0.0
        while True:
            # As a kubelet's, its work goes on when the API server is back.
            with suppress(*TRANSIENT):
                if time.monotonic() >= beat_s:
                    await self._renew_all()
                    beat_s = time.monotonic() + HEARTBEAT_SECONDS
                for pod in await self._objects.every("Pod"):
                    await self._attend(pod)
            await asyncio.sleep(0.1)

    async def _report(self, name: str) -> None:
        room = {"cpu": "64", "memory": "256Gi", "pods": "200", "nvidia.com/gpu": "64"}
        conditions = [{"type": "Ready", "status": "True", "reason": "Fake", "message": "", "lastHeartbeatTime": _now()}]
        status = {"capacity": room, "allocatable": room, "conditions": conditions}
        path = NODE.path(name=name, subresource="status")
        await self._cluster.request(Call("PATCH", path, body={"status": status}, content_type=STRATEGIC_PATCH))
        # The taint that a new node gets until the controller has seen it ready.
        change = {"spec": {"taints": None}}
        await self._cluster.request(Call("PATCH", NODE.path(name=name), body=change, content_type=MERGE_PATCH))

    async def _renew_all(self) -> None:
        for name in tuple(self.nodes):
            await self._renew(name)

    async def _renew(self, name: str) -> None:
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _now(micro=True)}
        body = {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        path, query = LEASE.path("kube-node-lease", name), {"fieldManager": "kubelet", "force": "true"}
        await self._cluster.request(Call("PATCH", path, query, body, "application/apply-patch+yaml"))

    async def _attend(self, pod: Json) -> None:
        metadata = pod["metadata"]
        self.pods_seen[metadata["uid"]] = metadata["name"]
        if pod["spec"].get("nodeName") not in self.nodes:
            return
        try:
            if "deletionTimestamp" in metadata:
                body = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
                path = POD.path(metadata["namespace"], metadata["name"])
                await self._cluster.request(Call("DELETE", path, body=body))
            else:
                await self._run(pod)
        except ApiError as error:
            if error.status not in {404, 409}:
                raise

    async def _run(self, pod: Json) -> None:
        metadata, failure = pod["metadata"], self.crashes(pod)
        ready = "False" if failure else "True"
        now = {it["type"]: it["status"] for it in pod.get("status", {}).get("conditions", ())}
        if now.get("Ready") == ready and (not failure or pod["status"].get("containerStatuses")):
            return
        name = pod["spec"]["containers"][0]["name"]
        container: dict[str, Any] = {"name": name, "image": "x", "imageID": "", "ready": not failure, "restartCount": 0}
        if failure:
            end = {"exitCode": 1, "reason": "Error", "message": failure}
            container |= {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": end}}
        condition = {"type": "Ready", "status": ready, "lastTransitionTime": _now()}
        status: dict[str, Any] = {"phase": "Running", "conditions": [condition], "containerStatuses": [container]}
        if self.pod_ip:
            status |= {"podIP": self.pod_ip, "podIPs": [{"ip": self.pod_ip}]}
        path = POD.path(metadata["namespace"], metadata["name"], "status")
        await self._cluster.request(Call("PATCH", path, body={"status": status}, content_type=STRATEGIC_PATCH))


class RunningOperator:
    """One operator replica in a thread and event loop of its own, as kopf wants it."""

    def __init__(self, settings: Settings, connect: Callable[[], Cluster]) -> None:
        self._settings = settings
        self._connect = connect
        self._started = threading.Event()
        self._operator: Operator | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.error: BaseException | None = None

    def start(self) -> "RunningOperator":
        self._thread.start()
        assert self._started.wait(10)
        return self

    def stop(self) -> None:
        if self._thread.is_alive() and self._loop is not None and self._operator is not None:
            self._loop.call_soon_threadsafe(self._operator.stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive(), "the operator did not stop"
        if self.error is not None:
            raise self.error

    @property
    def leads(self) -> bool:
        return self._operator is not None and self._operator.leads

    def looks(self, kind: str) -> int:
        """Return how many looks at objects of a kind are over."""
        assert self._operator is not None
        registry = self._operator.metrics.registry
        return int(registry.get_sample_value("tierline_operator_reconcile_seconds_count", {"kind": kind}) or 0)

    def writes(self, kind: str) -> int:
        """Return how many patches of objects of a kind the server took."""
        assert self._operator is not None
        registry = self._operator.metrics.registry
        labels = {"verb": "patch", "kind": kind}
        return int(registry.get_sample_value("tierline_operator_writes_total", labels) or 0)

    async def _run(self) -> None:
        self._operator, self._loop = Operator(self._settings, self._connect), asyncio.get_running_loop()
        self._started.set()
        try:
            await self._operator.run()
        except BaseException as error:  # noqa: BLE001 - raised again by `stop`
            self.error = error


def fleet(name: str, accelerator: str, tiers: tuple[str, ...], **spec: Any) -> dict[str, Any]:
    """Return a small valid fleet with one pool called `main`."""
    pool = {"name": "main", "replicas": {"min": 2, "max": 4}, "accelerator": accelerator}
    declared = {"model": {"source": "/models/tiny"}, "tierRefs": list(tiers), "pools": [pool], "drainSeconds": 1}
    return {"apiVersion": API_VERSION, "kind": "LLMFleet", "metadata": {"name": name}, "spec": {**declared, **spec}}


def tier(name: str) -> dict[str, Any]:
    spec = {"objective": "Throughput", "priority": 10}
    return {"apiVersion": API_VERSION, "kind": "SLOTier", "metadata": {"name": name}, "spec": spec}


def _now(micro: bool = False) -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")
