"""Adapters declared, loaded into a real worker while it runs, told of, and unloaded."""

import pytest
from api_server_in_memory import ApiServerInMemory, wired
from operator_testing import eventually
from tiny_adapter import write_tiny_adapter
from tiny_checkpoint import write_tiny_checkpoint
from worker_process import run_worker

from tierline.api.names import API_VERSION, WORKER_HTTP_PORT
from tierline_operator.adapter_reconciling import USE_SECONDS, AdapterReconciler, AdapterSights
from tierline_operator.kinds import LORA_ADAPTER
from tierline_operator.policy_status import PolicyStatus

HOST = "127.91.8.2"


class House:
    """One fleet with one worker, as the API server tells of it, and the loops that look after adapters."""

    def __init__(self, folder):
        self.server = ApiServerInMemory()
        self.sights = AdapterSights()
        model = {"source": "/models/tiny"}
        pools = [{"name": "main", "replicas": {"min": 1, "max": 1}}]
        fleet = self.put("LLMFleet", "chat", {"model": model, "tierRefs": ["gold"], "pools": pools})
        engine = {"maxAdapters": 2, "adapterSources": [str(folder)]}
        pool = self.put("WorkerPool", "chat-main", {"fleetRef": "chat", "model": model, "engine": engine}, owner=fleet)
        conditions = [{"type": "Ready", "status": "True"}]
        running = {"phase": "Running", "podIP": HOST, "conditions": conditions}
        self.put("Pod", "chat-main-1", {}, owner=pool, status=running)

    def put(self, kind, name, spec, owner=None, **fields):
        metadata = {"name": name, "namespace": "demo"}
        if owner is not None:
            metadata["ownerReferences"] = [{"kind": owner["kind"], "name": "x", "uid": owner["metadata"]["uid"]}]
        return self.server.put({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec, **fields})

    def declare(self, name, source, **spec):
        self.put("LoRAAdapter", name, {"source": str(source), "rank": 4, "fleetRefs": ["chat"], **spec})

    async def look(self):
        """Look after the fleet's adapters, then tell; returns when to look again."""
        wakes, stores, actuator = wired(self.server)
        due = await AdapterReconciler(stores, wakes, self.sights).adapters("demo", "chat")
        await PolicyStatus(stores, actuator, self.sights, "ops/operator").look()
        return due

    def said(self, name):
        status = self.server.objects[LORA_ADAPTER.path("demo", name)]["status"]
        ready = next(it for it in status["conditions"] if it["type"] == "Ready")
        return ready["reason"], ready["message"], [(it["name"], it["standing"]) for it in status["workers"]]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    model = write_tiny_checkpoint(folder / "model", seed=1)
    for seed, name in enumerate(("poems", "code", "tales")):
        write_tiny_adapter(folder / name, model, seed)
    return folder


async def test_adapters_come_and_go_while_a_worker_serves(files, tmp_path):
    house = House(files)
    environment = {
        "TIERLINE_BIND_HOST": HOST,
        "TIERLINE_HTTP_PORT": str(WORKER_HTTP_PORT),
        "TIERLINE_MAX_ADAPTERS": "2",
        "TIERLINE_ADAPTER_SOURCES": str(files),
    }
    async with run_worker(tmp_path, files / "model", **environment) as worker:
        house.declare("poems", files / "poems")
        house.declare("stolen", "/etc")

        async def served():
            assert worker.process.returncode is None, worker.log.read_text()
            await house.look()
            return house.said("poems")[0] == "Serving"

        await eventually(served, "the worker serves the adapter", 60)
        assert house.said("poems")[2] == [("chat-main-1", "Loadable")]
        reason, message, workers = house.said("stolen")
        assert (reason, workers) == ("NotServed", [])
        assert "not among the allowed sources" in message

        house.declare("code", files / "code")
        house.declare("tales", files / "tales", pinning="EveryWorker")
        house.server.objects.pop(LORA_ADAPTER.path("demo", "stolen"))
        assert await house.look() == USE_SECONDS
        served_now = {name: house.said(name)[0] for name in ("poems", "code", "tales")}
        assert served_now["tales"] == "Serving"
        assert sorted(served_now.values()) == ["NotServed", "Serving", "Serving"], "two have room"

        for name in ("poems", "code", "tales"):
            house.server.objects.pop(LORA_ADAPTER.path("demo", name))
        assert await house.look() is None, "nothing is wanted and nothing is left"
