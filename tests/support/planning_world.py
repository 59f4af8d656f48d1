"""The planning loop of an operator against an API server in memory, with a source of signals that a test controls."""

from collections.abc import Mapping, Sequence
from typing import Any

from api_server_in_memory import ApiServerInMemory, wired
from fleet_builders import IMAGES

from tierline.api.names import API_VERSION, LABEL_ACCELERATOR, LABEL_CAPACITY_TYPE, LABEL_POOL, LABEL_ZONE
from tierline.fleet.drift import ANNOTATION_APPLIED
from tierline.fleet.scaling.sharing import SharingTimes
from tierline.fleet.scaling.signals import Reading, Sample
from tierline.fleet.verdicts import Verdict
from tierline_operator.capacity.book import CapacityBook, FleetKey
from tierline_operator.capacity.keeping import Keeper
from tierline_operator.capacity.planning import Planner
from tierline_operator.capacity.sources import FleetPods, SourceSilent
from tierline_operator.kinds import LLM_FLEET, POD
from tierline_operator.settings import PlanningTimes
from tierline_operator.wakes import Wakes

START_MS = 1_800_000_000_000
TERMS = {"iteration": 10.0, "prefill_token": 1.0, "attention_pair": 0.0, "decode": 0.1, "kv_token": 0.0}
PROMPT_TOKENS, OUTPUT_TOKENS = 100, 10


class ToldSignals:
    """Tells of one fleet's gateway and workers what the test set; silent when `silent` says why."""

    name = "the test"

    def __init__(self) -> None:
        self.ended: dict[str, float] = {}
        self.queued = 0.0
        self.due_ms: dict[str, float] = {}
        self.silent = ""
        self.cached: dict[str, float] = {}
        self.warm = True

    async def read(self, fleets: Sequence[FleetPods], now_ms: int) -> Mapping[FleetKey, Reading]:
        if self.silent:
            raise SourceSilent(self.silent)
        return {
            fleet.key: Reading(now_ms, tuple(self._samples(fleet)), self.name)
            for fleet in fleets
            if not fleet.blacked_out
        }

    def _samples(self, fleet: FleetPods) -> list[Sample]:
        ended, tier = self.ended.get(fleet.key[1], 0.0), ("tier", "gold")
        told = [
            Sample("gw", "tierline_gateway_requests_total", (tier,), ended),
            Sample("gw", "tierline_gateway_queue_requests", (tier,), self.queued),
            Sample("gw", "tierline_billed_prompt_tokens_total", (), ended * PROMPT_TOKENS),
            Sample("gw", "tierline_billed_output_tokens_total", (), ended * OUTPUT_TOKENS),
            Sample("gw", "tierline_ttft_seconds_bucket", (tier, ("le", "0.1")), ended),
            Sample("gw", "tierline_ttft_seconds_bucket", (tier, ("le", "+Inf")), ended),
        ]
        if fleet.key[1] in self.due_ms:
            due_s = self.due_ms[fleet.key[1]] / 1e3
            told.append(Sample("gw", "tierline_gateway_queue_due_timestamp_seconds", (tier,), due_s))
        for pod in fleet.workers:
            told += [
                Sample(pod, "tierline_worker_latency_coefficient_ms", (("term", term),), value)
                for term, value in TERMS.items()
            ]
            told.append(Sample(pod, "tierline_worker_latency_samples_total", (), 1000.0))
            told.append(Sample(pod, "tierline_worker_started_warm", (), float(self.warm)))
            told += [
                Sample(pod, "tierline_worker_cached_weights_bytes", (("source", source),), size)
                for source, size in self.cached.items()
            ]
        return told


class PlanningWorld:
    """Fleets of one pool each; workers exist and are ready as soon as replicas ask for them."""

    def __init__(self) -> None:
        self.server = ApiServerInMemory()
        self.signals = ToldSignals()
        self.now_ms = START_MS
        self.book = CapacityBook()
        self.wakes, self.stores, actuator = wired(self.server)
        client: Any = self.server
        self.planner = Planner(
            self.stores,
            actuator,
            self.book,
            source=self.signals,
            keeper=Keeper(client, "ops", "prices", "learned"),
            wakes=Wakes(),
            clock=lambda: self.now_ms,
            times=PlanningTimes(sharing=SharingTimes(30_000, 30_000)),
            images=IMAGES,
        )

    def put(self, kind: str, name: str, **parts: Any) -> dict[str, Any]:
        """Create or change an object and let the stores know."""
        labels = parts.pop("labels", {})
        namespace = {} if kind in {"SLOTier", "Node"} else {"namespace": "demo"}
        version = API_VERSION if kind in {"SLOTier", "LLMFleet", "WorkerPool"} else "v1"
        owners, annotations = parts.pop("owners", []), parts.pop("annotations", {})
        metadata = {"name": name, **namespace, "labels": labels, "ownerReferences": owners, "annotations": annotations}
        stored = self.server.put({"apiVersion": version, "kind": kind, "metadata": metadata, **parts})
        self.stores.note(stored)
        return stored

    def tier(self, name: str = "gold", **spec: Any) -> None:
        self.put("SLOTier", name, spec={"objective": "Throughput", "priority": 10, **spec})

    def node(self, name: str, gpus: int = 8, **labels: str) -> None:
        supply = {LABEL_CAPACITY_TYPE: labels.get("supply", "on-demand"), LABEL_ZONE: labels.get("zone", "a")}
        status = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"nvidia.com/gpu": str(gpus)}}
        self.put("Node", name, labels={**supply, LABEL_ACCELERATOR: "h100"}, status=status, spec={})

    def fleet(self, name: str, tier: str = "gold", low: int = 1, high: int = 8, replicas: int = 1, **spec: Any) -> None:
        """Create a fleet with its pool, as the fleet's own loop would have made it."""
        resources = {"gpu": spec.pop("gpu", 1)}
        pool = {"name": "main", "replicas": {"min": low, "max": high}, "accelerator": "h100", "resources": resources}
        declared = {"model": {"source": "/models/tiny"}, "tierRefs": [tier], "pools": [pool], **spec}
        fleet = self.put("LLMFleet", name, spec=declared)
        owner = {"kind": "LLMFleet", "name": name, "uid": fleet["metadata"]["uid"], "controller": True}
        applied = {
            "fleetRef": name,
            "replicas": replicas,
            "model": {"source": "/models/tiny"},
            "accelerator": "h100",
            "resources": resources,
        }
        made = {ANNOTATION_APPLIED: "yes"}
        self.put("WorkerPool", f"{name}-main", spec=applied, owners=[owner], annotations=made, status={})
        self.attend()

    def delete_fleet(self, name: str) -> None:
        fleet = self.server.objects.pop(LLM_FLEET.path("demo", name))
        self.server.version += 1
        metadata = {**fleet["metadata"], "resourceVersion": str(self.server.version)}
        self.stores[LLM_FLEET].forget({**fleet, "metadata": metadata})

    def attend(self, node: str = "n1") -> None:
        """Let every pool have as many ready workers as it has replicas."""
        for pool in self.server.of_kind("WorkerPool"):
            name, wanted = pool["metadata"]["name"], pool["spec"]["replicas"]
            owner = {"kind": "WorkerPool", "name": name, "uid": pool["metadata"]["uid"]}
            for index in range(1, 20):
                path = f"/api/v1/namespaces/demo/pods/{name}-{index}"
                if index > wanted and path in self.server.objects:
                    self.stores[POD].forget(self.server.objects.pop(path))
                elif index <= wanted and path not in self.server.objects:
                    self._worker(name, index, owner, node, pool["spec"]["resources"]["gpu"])
            self.stores.note(self.server.put({**pool, "status": {"readyReplicas": wanted}}))

    def _worker(self, pool: str, index: int, owner: Mapping[str, Any], node: str, gpus: int) -> None:
        container = {"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
        ready = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        spec = {"nodeName": node, "containers": [container]}
        self.put("Pod", f"{pool}-{index}", spec=spec, status=ready, owners=[owner], labels={LABEL_POOL: pool})

    async def look(self, seconds: float = 5.0, times: int = 1, **per_second: float) -> None:
        """Let time pass in steps, with traffic, and plan at each; workers follow."""
        for _ in range(times):
            self.now_ms += int(seconds * 1000)
            for fleet, rate in per_second.items():
                self.signals.ended[fleet] = self.signals.ended.get(fleet, 0.0) + rate * seconds
            await self.planner.look()
            self.attend()

    def replicas(self, fleet: str) -> int:
        return int(self.server.objects[_POOL_PATH.format(fleet)]["spec"]["replicas"])

    def verdict(self, fleet: str, kind: str) -> Verdict:
        report = self.book.report("demo", fleet)
        assert report is not None
        return next(it for it in report.verdicts if it.type == kind)


_POOL_PATH = "/apis/tierline.dev/v1alpha1/namespaces/demo/workerpools/{}-main"
