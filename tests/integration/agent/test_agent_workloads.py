"""Ordinary workloads run: Deployments, environment, init containers, jobs."""

import asyncio
import json

import aiohttp
import pytest
from cluster_client import WORK_NODES, Namespace, container, eventually, is_ready, python, sleeper

pytestmark = pytest.mark.controlplane

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ['HOSTNAME'].encode())
http.server.HTTPServer((os.environ['TIERLINE_BIND_HOST'], 8080), Handler).serve_forever()
"""


async def test_a_deployment_of_servers_becomes_available_and_all_use_the_same_port(namespace: Namespace) -> None:
    probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
    server = python(SERVER, ports=[{"name": "http", "containerPort": 8080}], readinessProbe=probe)
    labels = {"app": "web"}
    body = {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [server], "nodeSelector": WORK_NODES},
            },
        },
    }
    await namespace.create("deployments", body, "apis/apps/v1")

    async def available() -> bool:
        found = await namespace.api.get(namespace.path("deployments", "web", "apis/apps/v1"))
        return bool(found.get("status", {}).get("availableReplicas") == 3)

    await eventually(available, what="3 replicas available")
    pods = await namespace.pods()
    async with aiohttp.ClientSession() as session:
        for pod in pods:
            async with session.get(f"http://{pod['status']['podIP']}:8080/") as answer:
                assert await answer.text() == pod["metadata"]["name"]


async def test_the_environment_is_what_the_pod_declares(namespace: Namespace) -> None:
    await namespace.create("configmaps", {"metadata": {"name": "settings"}, "data": {"MODE": "fast", "LEVEL": "3"}})
    await namespace.create("secrets", {"metadata": {"name": "key"}, "stringData": {"token": "s3cret"}})
    fields = {"NAME": "metadata.name", "UID": "metadata.uid", "IP": "status.podIP", "NODE": "spec.nodeName"}
    fields |= {"TEAM": "metadata.labels['team']", "ACCOUNT": "spec.serviceAccountName"}
    env = [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()]
    env += [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "key", "key": "token"}}},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "GREETING", "value": "$(NAME) in $(MODE), $(UNKNOWN), $$(NAME)"},
    ]
    code = "import json, os, sys; print(json.dumps(dict(os.environ) | {'ARG': sys.argv[1]}))"
    body = {
        "metadata": {"name": "env", "labels": {"team": "red"}},
        "spec": {
            "nodeSelector": WORK_NODES,
            "restartPolicy": "Never",
            "containers": [
                python(
                    code,
                    args=["$(IP)"],
                    env=env,
                    envFrom=[{"configMapRef": {"name": "settings"}}],
                    resources={"limits": {"cpu": "1500m"}},
                )
            ],
        },
    }
    created = await namespace.create("pods", body)
    pod = await namespace.until("env", lambda status: status.get("phase") == "Succeeded")
    logs = await namespace.kubectl("logs", "env")
    seen = json.loads(logs.stdout)
    assert seen["NAME"] == "env"
    assert seen["UID"] == created["metadata"]["uid"]
    assert seen["IP"] == seen["ARG"] == pod["status"]["podIP"] == seen["TIERLINE_BIND_HOST"]
    assert seen["NODE"] == pod["spec"]["nodeName"]
    assert (seen["TEAM"], seen["ACCOUNT"], seen["TOKEN"], seen["CPUS"]) == ("red", "default", "s3cret", "2")
    assert seen["GREETING"] == "env in fast, $(UNKNOWN), $(NAME)"
    assert "KUBERNETES_SERVICE_HOST" not in seen
    assert "VIRTUAL_ENV" not in seen


async def test_a_missing_secret_is_waited_for_and_named(namespace: Namespace) -> None:
    source = {"secretKeyRef": {"name": "later", "key": "token"}}
    await namespace.run("waits", python("", env=[{"name": "T", "valueFrom": source}]), restartPolicy="Never")
    pod = await namespace.until(
        "waits",
        lambda status: (
            container(status).get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError"
        ),
    )
    assert "Secret later does not exist" in container(pod["status"])["state"]["waiting"]["message"]
    await namespace.create("secrets", {"metadata": {"name": "later"}, "stringData": {"token": "x"}})
    await namespace.until("waits", lambda status: status.get("phase") == "Succeeded")


async def test_init_containers_run_in_order_before_the_others(namespace: Namespace) -> None:
    steps = [python(f"import time; print('{name}', time.time())", name) for name in ("one", "two")]
    main = python("import time; print('main', time.time()); time.sleep(600)")
    await namespace.run("ordered", main, initContainers=steps)
    await namespace.until("ordered", lambda status: container(status).get("started"))
    times = []
    for name in ("one", "two", "main"):
        logs = await namespace.kubectl("logs", "ordered", "-c", name)
        word, at = logs.stdout.split()
        assert word == name
        times.append(float(at))
    assert times == sorted(times)
    await namespace.until("ordered", is_ready)


async def test_a_pod_whose_helper_has_finished_still_runs(namespace: Namespace) -> None:
    await namespace.run("partly", sleeper(), python("", "side"), restartPolicy="OnFailure")
    pod = await namespace.until("partly", lambda status: container(status, "side").get("state", {}).get("terminated"))
    assert pod["status"]["phase"] == "Running"
    assert not is_ready(pod["status"])


async def test_a_failing_init_container_fails_a_pod_that_never_restarts(namespace: Namespace) -> None:
    first = python("raise SystemExit(4)", "first")
    await namespace.run("stuck", python(""), initContainers=[first], restartPolicy="Never")
    pod = await namespace.until("stuck", lambda status: status.get("phase") == "Failed")
    assert container(pod["status"], "first")["state"]["terminated"]["exitCode"] == 4
    assert "waiting" in container(pod["status"])["state"]


@pytest.mark.parametrize(("code", "kind"), [(0, "Complete"), (7, "Failed")])
async def test_a_job_ends_as_its_process_does(namespace: Namespace, code: int, kind: str) -> None:
    spec = {"restartPolicy": "Never", "nodeSelector": WORK_NODES, "containers": [python(f"raise SystemExit({code})")]}
    body = {"metadata": {"name": "job"}, "spec": {"backoffLimit": 0, "template": {"spec": spec}}}
    await namespace.create("jobs", body, "apis/batch/v1")

    async def done() -> bool:
        job = await namespace.api.get(namespace.path("jobs", "job", "apis/batch/v1"))
        return any(each["type"] == kind for each in job.get("status", {}).get("conditions", []))

    await eventually(done, what=f"the job is {kind}")
    ends = [container(pod["status"])["state"]["terminated"] for pod in await namespace.pods()]
    assert [end["exitCode"] for end in ends] == [code]
    assert ends[0]["reason"] == ("Completed" if code == 0 else "Error")


async def test_pods_of_several_nodes_start_within_a_second_or_two(namespace: Namespace) -> None:
    names = [f"quick-{index}" for index in range(10)]
    await asyncio.gather(
        *(namespace.run(name, {"name": "main", "image": "none", "command": ["sleep", "60"]}) for name in names)
    )
    await asyncio.gather(*(namespace.until(name, is_ready) for name in names))
