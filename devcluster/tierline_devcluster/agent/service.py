"""The agent put together: nodes, pods, and the servers beside them."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from tierline_devcluster.agent.apiserver.client import Api
from tierline_devcluster.agent.apiserver.credentials import load_access
from tierline_devcluster.agent.apiserver.events import EventPoster
from tierline_devcluster.agent.apiserver.reflector import Reflector
from tierline_devcluster.agent.kubelet import discovery
from tierline_devcluster.agent.kubelet.api import KubeletApi, server_ssl
from tierline_devcluster.agent.node import control
from tierline_devcluster.agent.node.keeper import NodeKeeper
from tierline_devcluster.agent.node.machines import Machines
from tierline_devcluster.agent.node.objects import NODES, capacity
from tierline_devcluster.agent.pod.addresses import AddressPool, claim_block
from tierline_devcluster.agent.pod.runner import Host
from tierline_devcluster.agent.pod.state import Backoff
from tierline_devcluster.agent.pod.status import HOST_IP
from tierline_devcluster.agent.pods import PodKeeper
from tierline_devcluster.agent.process import strays
from tierline_devcluster.agent.process.isolation import adopt_orphans, start_sentinel
from tierline_devcluster.agent.process.processes import ProcessTable
from tierline_devcluster.agent.process.runtime import LocalRuntime, PretendingRuntime, Runtime
from tierline_devcluster.nodes import AgentConfig

_LOG = logging.getLogger(__name__)
_SWEEP_PERIOD_S = 1.0
_SHUTDOWN_GRACE_S = 2.0


def agent_family(pod_root: Path) -> str:
    """Return the beginning of the marker of every process that any agent started for `pod_root`."""
    return f"{pod_root}#"


def prepared_folder(path: str) -> Path:
    folder = Path(path).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def serve_nodes(config: AgentConfig, stop: asyncio.Event) -> None:
    """Be the nodes of `config` until `stop` is set; then end their processes.

    Raises `KubeconfigError`, `AddressesExhaustedError`, or `OSError` when a port is taken.
    """
    pod_root = prepared_folder(config.pod_root)
    if killed := strays.kill_marked(agent_family(pod_root)):
        _LOG.warning("killed %d processes that an earlier agent left behind", killed)
    agent_id = f"{agent_family(pod_root)}{os.getpid()}|"
    adopt_orphans()
    sentinel = start_sentinel(agent_id)
    table = ProcessTable(adopts=True, others=frozenset({sentinel.pid}))
    claim, network = claim_block(str(pod_root))
    async with AsyncExitStack() as stack:
        stack.callback(claim.close)
        api = await stack.enter_async_context(Api(load_access(Path(config.kubeconfig))))
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)))
        runtime = _runtime(config, api, table, pod_root, agent_id)
        allocatable = {node.name: capacity(node) for node in config.nodes}
        host = Host(api, runtime, EventPoster(api), http, allocatable)
        backoff = Backoff(config.restart_backoff_seconds, config.restart_backoff_limit_seconds)
        pods = PodKeeper(host, AddressPool(config.pod_network or network), backoff, set(allocatable))
        await _Agent(config, api, table, pods, pod_root).run(stop)
    table.kill_everything(agent_id)


def _runtime(config: AgentConfig, api: Api, table: ProcessTable, pod_root: Path, agent_id: str) -> Runtime:
    if not config.runs_processes:
        return PretendingRuntime(pod_root)
    return LocalRuntime(api, table, pod_root, config.cache_dir, agent_id)


@dataclass(slots=True)
class _Agent:
    """The loops of one agent."""

    config: AgentConfig
    api: Api
    table: ProcessTable
    pods: PodKeeper
    pod_root: Path
    _heartbeats: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def run(self, stop: asyncio.Event) -> None:
        machines = Machines(self.api, self.pods, self._stop_heartbeat)
        nodes = Reflector(self.api, NODES, machines.node_seen, lambda _: None)
        bound = {"fieldSelector": "spec.nodeName!="}
        pods = Reflector(self.api, "/api/v1/pods", self.pods.present, self.pods.gone, bound)
        config = self.config
        for node in config.nodes:
            keeper = NodeKeeper(self.api, node, config.kubelet_port, config.lease_seconds, config.status_seconds)
            self._heartbeats[node.name] = asyncio.create_task(keeper.run())
        loops = [nodes.run(), pods.run(), self.pods.host.events.run(), self._sweep()]
        tasks = [asyncio.create_task(each) for each in loops]
        async with self._servers(machines, pods):
            _LOG.info("serving %d nodes", len(self.config.nodes))
            await _first_of(stop, tasks)
            for task in (*tasks, *self._heartbeats.values()):
                task.cancel()
            await self.pods.silence(tuple(self.pods.runners.values()), _SHUTDOWN_GRACE_S)

    def _stop_heartbeat(self, node: str) -> None:
        self._heartbeats[node].cancel()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_PERIOD_S)
            self.table.sweep()

    @asynccontextmanager
    async def _servers(self, machines: Machines, pods: Reflector) -> AsyncIterator[None]:
        config = self.config
        kubelet = KubeletApi(self.pods, self.table, self.pod_root, config.client_common_name).application()
        async with AsyncExitStack() as stack:
            runner = await stack.enter_async_context(_serving(kubelet))
            await web.TCPSite(runner, HOST_IP, config.kubelet_port, ssl_context=server_ssl(config)).start()
            runner = await stack.enter_async_context(_serving(discovery.application(pods.objects)))
            await web.TCPSite(runner, HOST_IP, config.discovery_port).start()
            runner = await stack.enter_async_context(_serving(control.application(machines)))
            await web.UnixSite(runner, config.control_socket).start()
            yield


@asynccontextmanager
async def _serving(app: web.Application) -> AsyncIterator[web.AppRunner]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()


async def _first_of(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for `stop`; a loop that ends by itself has failed, and its error is raised."""
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in done:
        task.result()
