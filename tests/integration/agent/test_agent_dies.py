"""An agent that is killed leaves nothing behind, and its successor picks the pods up."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from cluster_client import Namespace, container, eventually, is_ready, python, sleeper

from tierline_devcluster.agent.apiserver.client import ApiError
from tierline_devcluster.agent.process.strays import marked
from tierline_devcluster.agent.service import agent_family
from tierline_devcluster.cluster import RunningCluster
from tierline_devcluster.components.ports import free_ports
from tierline_devcluster.nodes import AgentConfig, NodeSpec
from tierline_devcluster.supervising.state import StateDir

pytestmark = pytest.mark.controlplane

Launch = Callable[[], "subprocess.Popen[bytes]"]


@asynccontextmanager
async def agent(
    cluster: RunningCluster, folder: Path, pool: str, *, runs_processes: bool = True
) -> AsyncIterator[Launch]:
    """Give a function that starts an agent with a node of its own pool; whatever it started is ended."""
    kubelet_port, discovery_port = free_ports(2)
    config = msgspec.structs.replace(
        AgentConfig.load(StateDir(cluster.state_dir).agent_config),
        pod_root=str(folder / "pods"),
        control_socket=str(folder / "sock"),
        kubelet_port=kubelet_port,
        discovery_port=discovery_port,
        nodes=(NodeSpec(name=f"{pool}-a", zone="zone-a", accelerator=pool),),
        runs_processes=runs_processes,
    )
    config.save(folder / "agent.json")
    started: list[subprocess.Popen[bytes]] = []

    def launch() -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-m", "tierline_devcluster.agent", str(folder / "agent.json")]
        with (folder / "log").open("ab") as log:
            started.append(subprocess.Popen(argv, stderr=log))
        return started[-1]

    try:
        yield launch
    finally:
        for process in started:
            process.terminate()
            await asyncio.to_thread(process.wait)


async def test_a_killed_agent_leaves_no_process_and_the_next_one_starts_the_pods_again(
    namespace: Namespace, cluster: RunningCluster, tmp_path: Path
) -> None:
    family = agent_family(tmp_path / "pods")
    daemon = "import subprocess, time; subprocess.Popen(['sleep', '600'], start_new_session=True); time.sleep(600)"
    async with agent(cluster, tmp_path, "mortal") as launch:
        first = launch()
        pool = {"tierline.dev/accelerator": "mortal"}
        await namespace.run("stays", python(daemon), nodeSelector=pool)
        await namespace.run("once", sleeper(), nodeSelector=pool, restartPolicy="Never")
        await namespace.until("stays", is_ready)
        await namespace.until("once", is_ready)

        async def all_started() -> bool:
            return len(list(marked(family))) == 3

        await eventually(all_started, what="the pods' processes run")
        first.kill()
        await asyncio.to_thread(first.wait)

        async def nothing_left() -> bool:
            return not list(marked(family))

        await eventually(nothing_left, 5, "no process of the dead agent")
        launch()
        pod = await namespace.until("stays", lambda status: container(status).get("restartCount", 0) == 1)
        assert container(pod["status"])["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
        await namespace.until("stays", is_ready)
        await namespace.until("once", lambda status: status.get("phase") == "Failed")
    assert not list(marked(family))
    await namespace.delete("stays", gracePeriodSeconds=0)
    await namespace.delete("once", gracePeriodSeconds=0)
    await namespace.api.delete("/api/v1/nodes/mortal-a")


async def test_a_node_that_somebody_deletes_comes_back(
    namespace: Namespace, cluster: RunningCluster, tmp_path: Path
) -> None:
    async with agent(cluster, tmp_path, "stands") as launch:
        launch()
        before = await eventually(lambda: uid_of(namespace, "stands-a"), what="the node")
        await namespace.api.delete("/api/v1/nodes/stands-a")

        async def another() -> bool:
            return await uid_of(namespace, "stands-a") not in (None, before)

        await eventually(another, 15, "a new node object")
    await namespace.api.delete("/api/v1/nodes/stands-a")


async def uid_of(namespace: Namespace, name: str) -> str | None:
    try:
        return str((await namespace.api.get(f"/api/v1/nodes/{name}"))["metadata"]["uid"])
    except ApiError:
        return None


async def test_pretended_pods_are_ready_without_a_process(
    namespace: Namespace, cluster: RunningCluster, tmp_path: Path
) -> None:
    async with agent(cluster, tmp_path, "pretends", runs_processes=False) as launch:
        launch()
        probe = {"httpGet": {"port": 80}}
        pool = {"tierline.dev/accelerator": "pretends"}
        missing = {"name": "main", "image": "none", "command": ["no-such-program"], "readinessProbe": probe}
        names = [f"pretended-{index}" for index in range(20)]
        await asyncio.gather(*(namespace.run(name, missing, nodeSelector=pool) for name in names))
        await asyncio.gather(*(namespace.until(name, is_ready) for name in names))
        assert not list(marked(agent_family(tmp_path / "pods")))
        await asyncio.gather(*(namespace.delete(name) for name in names))
        await asyncio.gather(*(namespace.gone(name) for name in names))
    await namespace.api.delete("/api/v1/nodes/pretends-a")


async def test_prometheus_is_told_of_the_pods_that_ask_for_it(namespace: Namespace, cluster: RunningCluster) -> None:
    body = {
        "metadata": {
            "name": "scraped",
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9100"},
        },
        "spec": {"containers": [sleeper()], "nodeSelector": {"tierline.dev/accelerator": "work"}},
    }
    await namespace.create("pods", body)
    pod = await namespace.until("scraped", is_ready)
    port = AgentConfig.load(StateDir(cluster.state_dir).agent_config).discovery_port
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/sd") as answer:
        targets = {target for group in await answer.json() for target in group["targets"]}
    assert f"{pod['status']['podIP']}:9100" in targets
