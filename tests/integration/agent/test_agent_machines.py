"""Machines that die suddenly, and machines that are taken away after a notice."""

import time
from pathlib import Path

import pytest
from cluster_client import Namespace, container, eventually, is_ready, sleeper

from tierline_devcluster import faults
from tierline_devcluster.agent.apiserver.client import ApiError
from tierline_devcluster.cluster import RunningCluster

pytestmark = pytest.mark.controlplane


async def replicas(namespace: Namespace, pool: str, count: int) -> None:
    labels = {"app": pool}
    spread = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    pod = {
        "containers": [sleeper()],
        "nodeSelector": {"tierline.dev/accelerator": pool},
        "topologySpreadConstraints": [spread],
    }
    spec = {"replicas": count, "selector": {"matchLabels": labels}}
    spec["template"] = {"metadata": {"labels": labels}, "spec": pod}
    await namespace.create("replicasets", {"metadata": {"name": pool}, "spec": spec}, "apis/apps/v1")
    await ready_on(namespace, count)


async def ready_on(namespace: Namespace, count: int, nodes: set[str] | None = None) -> list[dict]:
    """Wait until `count` pods (of `nodes`) are ready, and return them."""

    async def ask() -> list[dict] | None:
        found = [pod for pod in await namespace.pods() if is_ready(pod.get("status", {}))]
        found = [pod for pod in found if nodes is None or pod["spec"]["nodeName"] in nodes]
        return found if len(found) >= count else None

    return await eventually(ask, 30, f"{count} ready pods on {nodes or 'any node'}")


def processes(pods: list[dict], node: str) -> list[Path]:
    ids = [container(pod["status"])["containerID"] for pod in pods if pod["spec"]["nodeName"] == node]
    return [Path("/proc", each.removeprefix("process://")) for each in ids]


async def test_a_dead_machine_is_noticed_and_its_pods_are_replaced(
    namespace: Namespace, cluster: RunningCluster
) -> None:
    await replicas(namespace, "dies", 4)
    victims = processes(await namespace.pods(), "dies-a")
    assert victims
    await faults.kill_node(cluster.control_socket, "dies-a")
    assert not any(each.exists() for each in victims)
    await ready_on(namespace, 4, {"dies-b"})
    node = await namespace.api.get("/api/v1/nodes/dies-a")
    ready = next(each for each in node["status"]["conditions"] if each["type"] == "Ready")
    assert ready["status"] == "Unknown"
    with pytest.raises(LookupError, match="dies-a"):
        await faults.kill_node(cluster.control_socket, "dies-a")


async def test_a_spot_machine_lives_until_its_deadline_and_then_is_gone(
    namespace: Namespace, cluster: RunningCluster
) -> None:
    await replicas(namespace, "spot", 4)
    victims = processes(await namespace.pods(), "spot-a")
    assert victims
    theirs = {"key": "team.example/reserved", "effect": "PreferNoSchedule"}
    await namespace.api.patch("/api/v1/nodes/spot-a", {"spec": {"taints": [theirs]}})
    deadline = await faults.spot_notice(cluster.kubeconfig, "spot-a", 3)
    noticed = await namespace.api.get("/api/v1/nodes/spot-a")
    assert theirs in noticed["spec"]["taints"]
    assert len(noticed["spec"]["taints"]) == 2

    async def node_gone() -> bool:
        alive_before = [each.exists() for each in victims]
        asked_at = time.time()
        if asked_at < deadline:
            assert all(alive_before)
        try:
            await namespace.api.get("/api/v1/nodes/spot-a")
        except ApiError as error:
            return error.code == 404
        return False

    await eventually(node_gone, 10, "the node is gone")
    assert deadline <= time.time() < deadline + 2
    assert not any(each.exists() for each in victims)
    await ready_on(namespace, 4, {"spot-b"})

    async def cleared() -> bool:
        return all(pod["spec"].get("nodeName") != "spot-a" for pod in await namespace.pods())

    await eventually(cleared, 5, "the node's pods are gone")
    with pytest.raises(ApiError, match="404"):
        await faults.spot_notice(cluster.kubeconfig, "spot-a", 3)
