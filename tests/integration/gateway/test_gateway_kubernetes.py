"""The gateway's own process against the real API server: policy, keys and workers come and change by watch."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import openai
import pytest
from fake_wire_worker import FakeWorker, answer_text, letter_tokenizer

from tierline.api.names import ANNOTATION_EVACUATE_BY, API_VERSION, LABEL_COMPONENT, LABEL_FLEET, WORKER_WIRE_PORT
from tierline.artifacts import default_cache_dir
from tierline_devcluster.provision.tooling import kubectl_path

pytestmark = pytest.mark.controlplane

CRDS = Path(__file__).parents[3] / "crds"
HOST = "127.93.0.1"
HTTP_PORT, ADMIN_PORT = 18080, 18081


@dataclass
class Cluster:
    kubectl: Path
    kubeconfig: Path
    namespace: str

    def run(self, *words: str, stdin: str = "") -> str:
        argv = [str(self.kubectl), "--kubeconfig", str(self.kubeconfig), "-n", self.namespace, *words]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, *objects: dict) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "-f", "-", stdin=json.dumps(listed))


def resource(kind: str, name: str, spec: dict) -> dict:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def secret(name: str, key: str) -> dict:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"key": key}}


def quota(tier: str) -> dict:
    refs = [{"name": "acme-key", "key": "key"}]
    return resource("TenantQuota", "acme", {"tenant": "acme", "tierRefs": [tier], "apiKeySecretRefs": refs})


def worker_pod(name: str, fleet: str) -> dict:
    labels = {LABEL_FLEET: fleet, LABEL_COMPONENT: "worker"}
    # Bound to a node that does not exist, so neither scheduler nor kubelet touches it.
    spec = {"nodeName": "nowhere", "containers": [{"name": "worker", "image": "none"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


@pytest.fixture
def cluster(control_plane) -> Cluster:
    made = Cluster(kubectl_path(default_cache_dir(os.environ)), control_plane.kubeconfig, f"gw-{uuid.uuid4().hex[:8]}")
    made.run("apply", "--validate=false", "-f", str(CRDS))  # old servers know no CEL rules
    for kind in ("slotiers", "tenantquotas", "llmfleets"):
        made.run("wait", "--for", "condition=Established", f"crd/{kind}.tierline.dev", "--timeout=30s")
    made.run("create", "namespace", made.namespace)
    return made


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "letters"
    folder.mkdir()
    tokenizer = letter_tokenizer()
    tokenizer.backend.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 512, "eos_token_id": 0}))
    return folder


@contextlib.asynccontextmanager
async def gateway_process(cluster: Cluster, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(cluster.kubeconfig),
        "TIERLINE_FLEET": "letters",
        "POD_NAMESPACE": cluster.namespace,
        "POD_NAME": "gw-0",
        "TIERLINE_BIND_HOST": HOST,
        "TIERLINE_HTTP_PORT": str(HTTP_PORT),
        "TIERLINE_ADMIN_PORT": str(ADMIN_PORT),
        "HOME": os.environ.get("HOME", "/"),
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("tierline-gateway"), env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def probe(path: str) -> tuple[int, str]:
    url = f"http://{HOST}:{ADMIN_PORT}{path}"
    with contextlib.suppress(aiohttp.ClientConnectionError):
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()
    return 0, ""


async def eventually(condition, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


async def _models(client: openai.AsyncOpenAI) -> list[str]:
    return [each.id for each in (await client.models.list()).data]


async def answers(client: openai.AsyncOpenAI, tokens: int = 3, model: str = "letters") -> str:
    done = await client.completions.create(model=model, prompt="hi", max_tokens=tokens)
    return done.choices[0].text


def serve_pod(cluster: Cluster, name: str, host: str, fleet: str = "letters") -> None:
    cluster.apply(worker_pod(name, fleet))
    ready = [{"type": "Ready", "status": "True"}]
    status = {"status": {"phase": "Running", "podIP": host, "podIPs": [{"ip": host}], "conditions": ready}}
    cluster.run("patch", "pod", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))


async def start_worker(name: str, host: str) -> FakeWorker:
    worker = FakeWorker(name)
    await worker.start(host, WORKER_WIRE_PORT)
    return worker


async def test_the_gateway_follows_the_cluster(cluster: Cluster, model_folder: Path, tmp_path: Path) -> None:
    tier = f"fast-{cluster.namespace}"
    fleet = {
        "model": {"source": f"file://{model_folder}"},
        "tierRefs": [tier],
        "pools": [{"name": "main", "replicas": {"min": 1, "max": 2}}],
    }
    cluster.apply(
        resource("SLOTier", tier, {"objective": "Latency", "priority": 10}),
        resource("LLMFleet", "letters", fleet),
        quota(tier),
        secret("acme-key", "sk-one"),
    )
    client = openai.AsyncOpenAI(base_url=f"http://{HOST}:{HTTP_PORT}/v1", api_key="sk-one", max_retries=0)
    log = tmp_path / "gateway.log"
    first, second = await start_worker("w-1", "127.93.0.2"), await start_worker("w-2", "127.93.0.3")
    third = await start_worker("c-1", "127.93.0.4")
    async with gateway_process(cluster, log) as process:

        async def ready() -> bool:
            assert process.returncode is None, log.read_text()
            return (await probe("/readyz"))[0] == 200

        await eventually(ready, "readiness")

        # A worker pod appears, and serves.
        serve_pod(cluster, "w-1", "127.93.0.2")
        assert await answers(client) == "abc"
        assert first.submits[0].tier == tier

        # A published deadline moves a stream to another pod.
        serve_pod(cluster, "w-2", "127.93.0.3")

        async def both_serve() -> bool:
            return 'workers{model="letters",state="serving"} 2.0' in (await probe("/metrics"))[1]

        await eventually(both_serve, "two workers")
        first.period_s = second.period_s = 0.02
        running = asyncio.create_task(answers(client, 200))
        await eventually(lambda: _holds(first, second), "a running stream")
        holder = first if first.held else second
        deadline = int(time.time() * 1000) + 1000
        cluster.run("annotate", "pod", holder.name, f"{ANNOTATION_EVACUATE_BY}={deadline}")
        await holder.wait_for(lambda: bool(holder.cancels))
        assert await running == answer_text(200)

        # A second fleet's model is served as soon as the fleet is named, and no longer when it is not.
        code = resource("LLMFleet", "code", fleet)
        cluster.apply(code, resource("LLMFleet", "letters", {**fleet, "gateway": {"fleetRefs": ["code"]}}))
        serve_pod(cluster, "c-1", "127.93.0.4", "code")

        async def serves_both() -> bool:
            return (await probe("/readyz"))[0] == 200 and await _models(client) == ["code", "letters"]

        await eventually(serves_both, "both models")
        assert await answers(client, model="code") == "abc"
        assert len(third.submits) == 1
        cluster.apply(resource("LLMFleet", "letters", fleet))

        async def serves_one() -> bool:
            return await _models(client) == ["letters"]

        await eventually(serves_one, "one model again")

        # A tier that is deleted is named by what refers to it.
        cluster.run("delete", "slotier", tier)

        async def refused() -> bool:
            try:
                await answers(client)
            except openai.BadRequestError as error:
                return "defaultTierRef" in str(error)
            return False

        await eventually(refused, "refusal of the deleted tier")

        # SIGTERM ends it cleanly.
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0, log.read_text()
    await client.close()
    for worker in (first, second, third):
        await worker.kill()
    cluster.run("delete", "namespace", cluster.namespace, "--wait=false")


async def _holds(*workers: FakeWorker) -> bool:
    return any(len(emitted) > 5 for worker in workers for _, emitted in worker.held.values())
