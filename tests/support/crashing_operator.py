"""A cluster in memory with a kubelet, and operators that may die after any write."""

import copy
from collections import Counter
from typing import Any

from api_server_in_memory import ApiServerInMemory, wired
from fleet_builders import IMAGES

from tierline.fleet.reading import read_pod
from tierline.fleet.rollout.canary import CanaryFigures
from tierline_operator.canary_figures import Change
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.cluster import ApiError, Call
from tierline_operator.drill_reconciling import DrillReconciler
from tierline_operator.faults import Faults
from tierline_operator.flooding import Floods
from tierline_operator.kinds import BY_KIND
from tierline_operator.pool_reconciling import PoolReconciler
from tierline_operator.reconciling import Reconciler

START_MS = 1_800_000_000_000
VERSION = "tierline.dev/v1alpha1"
QUIET_ROUNDS = 4
LATER_MS = 60_000
"""After two quiet rounds so much time passes at once: what waits for a moment has had it then."""

MOST_ROUNDS = 60


class Died(Exception):
    """The operator's process is gone."""


class MortalClient:
    """A client of the server that is dead from the write after `writes` on; None lives for ever."""

    def __init__(self, server: ApiServerInMemory, writes: int | None) -> None:
        self._server = server
        self._left = writes
        self.objects = server.objects

    async def request(self, call: Call) -> dict[str, Any]:
        if call.method != "GET" and self._left is not None:
            if self._left == 0:
                raise Died
            self._left -= 1
        return await self._server.request(call)


class Shown:
    """Figures of canaries as a test sets them."""

    def __init__(self) -> None:
        self.told: CanaryFigures | None = None

    async def figures(self, _change: Change) -> CanaryFigures | None:
        return self.told

    def forget(self, _pool_uid: str) -> None:
        """Nothing is kept."""


class CrashWorld:
    """One fleet on two nodes. After every look, `checks` sees the server; time goes on by itself."""

    def __init__(self) -> None:
        self.server = ApiServerInMemory()
        self.figures = Shown()
        self.now_ms = START_MS
        self.most_workers = 0
        self.put("SLOTier", "gold", {"objective": "Cost", "priority": 1, "attainmentPercent": 90})
        for name in ("node-a", "node-b"):
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            self.server.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": ready})

    def put(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        namespace = {"namespace": "demo"} if BY_KIND[kind].namespaced else {}
        held = self.server.objects.get(BY_KIND[kind].path("demo", name), {})
        metadata = {**held.get("metadata", {}), "name": name, **namespace}
        metadata["generation"] = metadata.get("generation", 0) + 1
        self.server.put({**held, "apiVersion": VERSION, "kind": kind, "metadata": metadata, "spec": spec})

    def delete(self, kind: str, name: str) -> None:
        self.server._drop(BY_KIND[kind].path("demo", name))

    def taint(self, node: str, deadline_ms: int) -> None:
        held = self.server.objects[BY_KIND["Node"].path(name=node)]
        taints = [{"key": "tierline.dev/spot-notice", "value": str(deadline_ms // 1000)}]
        self.server.put({**held, "spec": {"taints": taints}})

    def workers(self) -> list[dict[str, Any]]:
        return [pod for pod in self.server.of_kind("Pod") if pod["metadata"]["labels"].get("tierline.dev/pool")]

    async def until_quiet(self, writes: int | None = None) -> int:
        """Let an operator work until nothing happens any more; it dies after so many writes, and `Died` is raised.

        Returns how many writes it made.
        """
        client: Any = MortalClient(self.server, writes)
        before, quiet = len(self._written()), 0
        for _ in range(MOST_ROUNDS):
            versions = self.server.version, len(self.server.objects)
            await self._look(client)
            self._attend()
            self.most_workers = max(self.most_workers, len(self.workers()))
            quiet = quiet + 1 if versions == (self.server.version, len(self.server.objects)) else 0
            self.now_ms += LATER_MS if quiet == QUIET_ROUNDS // 2 else 1000
            if quiet == QUIET_ROUNDS:
                return len(self._written()) - before
        raise AssertionError(f"no rest after {MOST_ROUNDS} rounds: {self.server.calls[-5:]}")

    async def _look(self, client: Any) -> None:
        for kind, look in (("LLMFleet", self._fleet), ("WorkerPool", self._pool), ("FleetDrill", self._drill)):
            for obj in self.server.of_kind(kind):
                try:
                    await look(client, obj["metadata"]["name"])
                except ApiError as error:
                    if error.status != 409:
                        raise

    async def _fleet(self, client: Any, name: str) -> None:
        _, stores, actuator = wired(client)
        await Reconciler(stores, actuator, IMAGES, book=CapacityBook(), clock=self._clock).fleet("demo", name)

    async def _pool(self, client: Any, name: str) -> None:
        _, stores, actuator = wired(client)
        await PoolReconciler(
            stores, actuator, IMAGES, figures=self.figures, book=CapacityBook(), clock=self._clock
        ).pool("demo", name)

    async def _drill(self, client: Any, name: str) -> None:
        _, stores, actuator = wired(client)
        faults = Faults(stores, actuator, Floods(), lambda _seconds: None)
        await DrillReconciler(stores, actuator, faults, "operator-a", self._clock).drill("demo", name)

    def _attend(self) -> None:
        """A scheduler and a kubelet: pods run and are ready at once, on the first node without a notice."""
        nodes = [node["metadata"]["name"] for node in self.server.of_kind("Node") if not node.get("spec")]
        moment = "2027-01-15T08:00:00Z"
        for pod in self.server.of_kind("Pod"):
            if "status" not in pod:
                condition = {"type": "Ready", "status": "True", "lastTransitionTime": moment}
                placed = {**pod["spec"], "nodeName": nodes[0]}
                self.server.put({**pod, "spec": placed, "status": {"phase": "Running", "conditions": [condition]}})
        for gateway in self.server.of_kind("Deployment"):
            wanted = {"readyReplicas": gateway["spec"]["replicas"]}
            if gateway.get("status") != wanted:
                self.server.put({**gateway, "status": wanted})

    def _clock(self) -> int:
        return self.now_ms

    def _written(self) -> list[Call]:
        return [call for call in self.server.calls if call.method != "GET"]

    def outcome(self) -> Any:
        """Return what is there in the end, without what differs from one run to the next: numbers, uids, times."""
        pods = Counter((it.revision, it.node) for it in map(read_pod, self.workers()))
        others = {path: _essence(obj) for path, obj in self.server.objects.items() if obj["kind"] != "Pod"}
        return pods, others

    def workers_made(self) -> int:
        """Return how many workers were ever made."""
        return sum("/pods/" in path for path in self.server.created)

    def names_used_twice(self) -> list[str]:
        return [path for path, count in Counter(self.server.created).items() if count > 1]


def _essence(obj: dict[str, Any]) -> Any:
    bare = copy.deepcopy(obj)
    for field in ("resourceVersion", "uid"):
        bare["metadata"].pop(field)
    for owner in bare["metadata"].get("ownerReferences", ()):
        owner.pop("uid")
    status = bare.get("status", {})
    for field in ("lastAttempt", "started", "recovered", "finished", "recoverySeconds", "targetUid"):
        status.pop(field, None)
    for condition in status.get("conditions", ()):
        condition.pop("lastTransitionTime", None)
    for check in status.get("checks", ()):
        check.pop("measured", None)
    for rollout in (status.get("rollout", {}), status.get("rollout", {}).get("hold", {})):
        for field in ("canariesSince", "since"):
            rollout.pop(field, None)
    bare["metadata"].get("annotations", {}).pop("tierline.dev/applied", None)
    bare.pop("revision", None)
    return bare
