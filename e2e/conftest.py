"""The whole system once a session: a cluster, the chart, a shared fleet; and what is written down when a test fails."""

import asyncio
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from e2e_cluster import Cluster
from e2e_gateway import Gateway, reach
from e2e_house import FLEET, House, create_tiers, furnish, install, leave
from e2e_logs import LogKeeper
from e2e_models import Models, write_models
from e2e_namespace import Namespace
from e2e_waiting import eventually

from tierline.artifacts import default_cache_dir
from tierline_cli.dump import dump_cluster
from tierline_devcluster.agent.apiserver.client import Api
from tierline_devcluster.agent.apiserver.credentials import load_access
from tierline_devcluster.cluster import ClusterOptions, start
from tierline_devcluster.nodes import NodeSpec
from tierline_devcluster.provision.tooling import helm_path, kubectl_path
from tierline_devcluster.supervising.processes import processes_living_in

ENV_KUBECONFIG = "TIERLINE_E2E_KUBECONFIG"
ENV_MODELS = "TIERLINE_E2E_MODELS"
"""Folder with the models of `e2e_models` as pods see it; by default they are written to this machine."""

OUT = Path(__file__).parent.parent / "out" / "e2e"
NODES = (
    NodeSpec("on-demand-a-0", "zone-a"),
    NodeSpec("on-demand-a-1", "zone-a"),
    NodeSpec("on-demand-b-0", "zone-b"),
    NodeSpec("on-demand-b-1", "zone-b"),
    NodeSpec("spot-b-0", "zone-b", "spot"),
    NodeSpec("spot-b-1", "zone-b", "spot"),
    NodeSpec("spot-c-0", "zone-c", "spot"),
    NodeSpec("spot-c-1", "zone-c", "spot"),
)
NAMESPACE_GONE_SECONDS = 180

MakeNamespace = Callable[[str], Awaitable[Namespace]]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One event loop for all; elsewhere than on virtual nodes, the tests that need them are deselected."""
    for item in items:
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    if os.environ.get(ENV_KUBECONFIG):
        chosen = [item for item in items if item.get_closest_marker("virtualnodes") is None]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.when in {"setup", "call"} and _KUBECONFIG in item.config.stash:
        folder = OUT / re.sub(r"[^\w.-]+", "-", item.name)
        shutil.rmtree(folder, ignore_errors=True)
        dump_cluster(item.config.stash[_KUBECONFIG], folder)
        shutil.copytree(OUT / "logs", folder / "logs-followed", dirs_exist_ok=True)
        report.sections.append(("objects, events and logs", str(folder)))
    return report


_KUBECONFIG = pytest.StashKey[Path]()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """The development cluster with eight virtual nodes, or the one that `TIERLINE_E2E_KUBECONFIG` leads to."""
    shutil.rmtree(OUT, ignore_errors=True)
    cache = default_cache_dir(os.environ).absolute()
    given = os.environ.get(ENV_KUBECONFIG)
    with tempfile.TemporaryDirectory(prefix="tierline-e2e-") as folder:
        options = ClusterOptions("e2e", Path(folder) / "state", NODES, prometheus=False)
        virtual = None if given else await asyncio.to_thread(start, options)
        kubeconfig = virtual.kubeconfig if virtual else Path(str(given))
        request.config.stash[_KUBECONFIG] = kubeconfig
        async with Api(load_access(kubeconfig)) as api:
            yield Cluster(api, kubeconfig, helm_path(cache), kubectl_path(cache), virtual)
        if virtual is not None:
            await asyncio.to_thread(virtual.stop)
            left = processes_living_in(Path(folder))
            assert not left, f"processes outlive their cluster: {left}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pod_logs(cluster: Cluster) -> AsyncIterator[None]:
    async with Api(load_access(cluster.kubeconfig)) as api:
        task = asyncio.create_task(LogKeeper(api, OUT / "logs").run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(cluster: Cluster, pod_logs: None) -> AsyncIterator[Cluster]:
    """The cluster with the chart installed and the tiers created."""
    await install(cluster)
    await create_tiers(cluster)
    yield cluster
    if cluster.virtual is None:
        await leave(cluster)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def make_namespace(system: Cluster) -> AsyncIterator[MakeNamespace]:
    """Makes namespaces; all of them are gone before the session ends."""
    made: list[str] = []

    async def make(name: str) -> Namespace:
        await system.create({"kind": "Namespace", "metadata": {"name": name}})
        made.append(name)
        return Namespace(system, name)

    async def all_gone() -> bool:
        names = {it["metadata"]["name"] for it in await system.every("Namespace")}
        return not names.intersection(made)

    yield make
    for name in made:
        await system.delete("Namespace", name)
    await eventually(all_gone, NAMESPACE_GONE_SECONDS, f"the namespaces {', '.join(made)} are gone")


@pytest_asyncio.fixture(loop_scope="session")
async def namespace(request: pytest.FixtureRequest, make_namespace: MakeNamespace) -> AsyncIterator[Namespace]:
    """A room of the test's own; it is being deleted afterwards, and the session's end checks that it is gone."""
    name = re.sub(r"[^a-z0-9]+", "-", f"e2e-{request.node.name.removeprefix('test_')}".lower()).strip("-")[:60]
    room = await make_namespace(name.strip("-"))
    yield room
    await room.cluster.delete("Namespace", room.name)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    given = os.environ.get(ENV_MODELS)
    return Models(Path(given)) if given else write_models(tmp_path_factory.mktemp("models"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(make_namespace: MakeNamespace, models: Models) -> House:
    """A fleet of two workers that tests share; whoever changes it puts it back."""
    namespace = await make_namespace("e2e-house")
    started = time.monotonic()
    await furnish(namespace, models.tiny)
    await namespace.until_ready(FLEET)
    return House(namespace, models.tiny, time.monotonic() - started)


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(house: House) -> AsyncIterator[Gateway]:
    async with reach(house.namespace, house.fleet) as door:
        yield door
