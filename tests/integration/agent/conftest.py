"""A real control plane with nodes of the agent, shared by this folder's tests."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cluster_client import Namespace

from tierline.artifacts import default_cache_dir
from tierline_devcluster.agent.apiserver.client import Api
from tierline_devcluster.agent.apiserver.credentials import load_access
from tierline_devcluster.cluster import ClusterOptions, RunningCluster, start
from tierline_devcluster.nodes import NodeSpec
from tierline_devcluster.provision.tooling import kubectl_path

_SERIAL = itertools.count()


def node(name: str, pool: str = "work") -> NodeSpec:
    """A node that only pods which select its pool as accelerator must use."""
    return NodeSpec(name=name, zone=f"zone-{name[-1]}", accelerator=pool)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    state_dir = tmp_path_factory.mktemp("agent") / "state"
    nodes = (node("work-a"), node("work-b"), node("dies-a", "dies"), node("dies-b", "dies"))
    spot = (node("spot-a", "spot"), node("spot-b", "spot"))
    options = ClusterOptions(name="agent-tests", state_dir=state_dir, nodes=(*nodes, *spot), prometheus=False)
    with start(options) as running:
        yield running


@pytest.fixture
async def namespace(cluster: RunningCluster) -> AsyncIterator[Namespace]:
    name = f"agent-{os.getpid()}-{next(_SERIAL)}"
    kubectl = await asyncio.to_thread(kubectl_path, default_cache_dir(os.environ))
    async with Api(load_access(Path(cluster.kubeconfig))) as api:
        await api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        yield Namespace(api, name, cluster.kubeconfig, kubectl)
        await api.delete(f"/api/v1/namespaces/{name}")
