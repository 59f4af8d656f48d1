"""A namespace with a tier, a node and an operator, on the session's control plane."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from operator_testing import Kubelet, Objects, RunningOperator, eventually, tier

from tierline.fleet.wanted import Images
from tierline_operator.cluster import ApiError, Call, Cluster
from tierline_operator.kinds import NODE, SLO_TIER
from tierline_operator.settings import Settings

_REPOSITORY = Path(__file__).parents[3]
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SERIAL = itertools.count()


@dataclass
class World:
    """One test's corner of the cluster; `name` is its namespace, its tier, and its nodes' accelerator."""

    name: str
    kubeconfig: str
    cluster: Cluster
    objects: Objects
    kubelet: Kubelet
    settings: Settings


@pytest.fixture(scope="session")
def crds(control_plane: Any) -> str:
    """Install the CRDs once; returns the kubeconfig's path."""
    asyncio.run(_install_crds(str(control_plane.kubeconfig)))
    return str(control_plane.kubeconfig)


@pytest.fixture
async def world(crds: str) -> AsyncIterator[World]:
    name = f"op{os.getpid()}-{next(_SERIAL)}"
    cluster = Cluster(crds)
    objects = Objects(cluster, name)
    await cluster.request(Call("POST", "/api/v1/namespaces", body={"metadata": {"name": name}}))
    await cluster.request(Call("POST", SLO_TIER.path(), body=tier(name)))
    kubelet = Kubelet(cluster, objects, [f"{name}-a"], name)
    running = asyncio.create_task(kubelet.run())
    settings = Settings(
        identity="operator-a",
        namespace=name,
        images=Images(worker="worker:test", gateway="gateway:test"),
        namespaces=(name,),
        http_host="127.0.0.1",
        http_port=0,
        elects_leader=False,
        lease_seconds=4.0,
    )
    try:
        yield World(name, crds, cluster, objects, kubelet, settings)
    finally:
        running.cancel()
        (ended,) = await asyncio.gather(running, return_exceptions=True)
        await _sweep(cluster, name, kubelet.nodes)
        await cluster.close()
        assert isinstance(ended, asyncio.CancelledError), f"the nodes died during the test: {ended!r}"


@pytest.fixture
def start_operator(world: World) -> Iterator[Callable[..., RunningOperator]]:
    """Start operators that are stopped at the end; a different `connect` takes the place of the plain client."""
    started: list[RunningOperator] = []

    def start(settings: Settings = world.settings, connect: Callable[[], Cluster] | None = None) -> RunningOperator:
        operator = RunningOperator(settings, connect or (lambda: Cluster(world.kubeconfig))).start()
        started.append(operator)
        return operator

    yield start
    for operator in started:
        operator.stop()


async def _install_crds(kubeconfig: str) -> None:
    cluster = Cluster(kubeconfig)
    for file in sorted((_REPOSITORY / "crds").glob("*.yaml")):
        await _install_crd(cluster, yaml.safe_load(file.read_text()))
    await cluster.close()


async def _install_crd(cluster: Cluster, crd: dict[str, Any]) -> None:
    path = f"{_CRDS}/{crd['metadata']['name']}"
    try:
        await cluster.request(Call("POST", _CRDS, body=crd))
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        held = await cluster.request(Call("GET", path))
        metadata = {**crd["metadata"], "resourceVersion": held["metadata"]["resourceVersion"]}
        await cluster.request(Call("PUT", path, body={**crd, "metadata": metadata}))

    async def established() -> bool:
        conditions = (await cluster.request(Call("GET", path))).get("status", {}).get("conditions") or ()
        return any(it["type"] == "Established" and it["status"] == "True" for it in conditions)

    await eventually(established, f"{path} established")


async def _sweep(cluster: Cluster, name: str, nodes: list[str]) -> None:
    for path in (SLO_TIER.path(name=name), f"/api/v1/namespaces/{name}", *(NODE.path(name=node) for node in nodes)):
        try:
            await cluster.request(Call("DELETE", path))
        except ApiError as error:
            if error.status != 404:
                raise
