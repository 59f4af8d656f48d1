"""The life of one pod on a node: observations come in, the decisions of `lifecycle` are carried out."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from tierline_devcluster.agent.apiserver import tokens
from tierline_devcluster.agent.apiserver.client import TRANSIENT, Api
from tierline_devcluster.agent.apiserver.deletion import delete_pod
from tierline_devcluster.agent.apiserver.events import EventPoster
from tierline_devcluster.agent.pod import state as podstate
from tierline_devcluster.agent.pod.environment import MissingReferenceError, PodPlace
from tierline_devcluster.agent.pod.lastwords import last_words
from tierline_devcluster.agent.pod.lifecycle import (
    STEP_AFTER,
    Action,
    Fail,
    RunHook,
    Start,
    Terminate,
    decide,
    is_over,
    wake_at_s,
)
from tierline_devcluster.agent.pod.publisher import StatusPublisher
from tierline_devcluster.agent.pod.spec import Container, Handler, Json, Pod
from tierline_devcluster.agent.pod.state import Phase, PodState, StopStep
from tierline_devcluster.agent.pod.status import HOST_IP, pod_status
from tierline_devcluster.agent.probes.actions import Target, check
from tierline_devcluster.agent.probes.loops import run_probes
from tierline_devcluster.agent.probes.thresholds import ProbeKind, Verdict
from tierline_devcluster.agent.process.isolation import StartError
from tierline_devcluster.agent.process.processes import LocalProcess, Running
from tierline_devcluster.agent.process.runtime import LocalRuntime, Runtime

_LOG = logging.getLogger(__name__)
_FLUSH_TIMEOUT_S = 10.0
_DELETE_RETRY_S = 0.5

Change = Callable[[PodState], PodState]


@dataclass(frozen=True, slots=True)
class Host:
    """What all pods of one agent share; `allocatable` is by node."""

    api: Api
    runtime: Runtime
    events: EventPoster
    http: aiohttp.ClientSession
    allocatable: Mapping[str, Mapping[str, str]]


class PodRunner:
    """Runs one pod until it has to go; `running` holds its live containers by name."""

    def __init__(self, pod: Pod, state: PodState, pod_ip: str, host: Host, *, identity: bool) -> None:
        self.pod = pod
        self.state = state
        self.pod_ip = pod_ip
        self.running: dict[str, Running] = {}
        self._host = host
        self._identity = identity
        self._place = PodPlace(pod_ip, HOST_IP, host.allocatable.get(pod.spec.node_name, {}))
        self._changes: asyncio.Queue[Change] = asyncio.Queue()
        self._publisher = StatusPublisher(host.api, pod)
        self._status: Json = {}
        self._silent = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._probes: dict[str, asyncio.Task[None]] = {}

    def stop(self, grace_s: float, *, removed: bool = False) -> None:
        """Ask for the pod's end within `grace_s`; `removed` says that its object is gone from the API already."""
        deadline_s = time.time() + grace_s
        self._changes.put_nowait(partial(podstate.stop_requested, deadline_s=deadline_s, removed=removed))

    def fall_silent(self, grace_s: float = 0.0) -> None:
        """End everything within `grace_s` without telling the API, as a machine does that loses its power."""
        self._silent = True
        if grace_s <= 0:
            for process in self.running.values():
                process.kill()
        self.stop(grace_s)

    async def run(self) -> None:
        """Live until the pod is gone from the node, then remove its object and its files but for the logs."""
        folder = self._host.runtime.folder(self.pod)
        folder.tidy()
        self._spawn(self._publisher.run())
        if self._identity and isinstance(self._host.runtime, LocalRuntime):
            self._spawn(tokens.keep_fresh(self._host.api, self.pod, folder.kubeconfig))
        try:
            await self._live()
            await self._say_goodbye()
        finally:
            for task in (*self._tasks, *self._probes.values()):
                task.cancel()
            for process in self.running.values():
                process.kill()
            folder.tidy()

    async def _live(self) -> None:
        while True:
            self._catch_up()
            for action in decide(self.pod, self.state, time.time()):
                await self._perform(action)
            self._publish()
            if is_over(self.state):
                return
            await self._next_change()

    async def _next_change(self) -> None:
        wake = wake_at_s(self.pod, self.state)
        try:
            async with asyncio.timeout(None if wake is None else max(0.0, wake - time.time())):
                change = await self._changes.get()
        except TimeoutError:
            return
        self.state = change(self.state)

    def _catch_up(self) -> None:
        while not self._changes.empty():
            self.state = self._changes.get_nowait()(self.state)

    def _publish(self) -> None:
        status = pod_status(self.pod, self.state, self.pod_ip, self._status, time.time())
        if status != self._status and not self._silent:
            self._publisher.offer(status)
        self._status = status

    async def _perform(self, action: Action | Fail) -> None:
        if isinstance(action, Fail):
            self.state = podstate.refusal_done(self.state)
            return
        if isinstance(action, Start):
            await self._start(self._container(action.name))
            return
        self.state = podstate.stop_advanced(self.state, action.name, STEP_AFTER[type(action)])
        process = self.running.get(action.name)
        if process is None:
            return
        if isinstance(action, RunHook):
            self._spawn(self._hook(self._container(action.name), process))
        elif isinstance(action, Terminate):
            process.terminate()
        else:
            _LOG.info("%s: %s killed at the end of its grace period", self.pod.label, action.name)
            process.kill()

    def _container(self, name: str) -> Container:
        container = self.pod.container(name)
        assert container is not None, f"{name} is a container of {self.pod.label}"
        return container

    async def _start(self, container: Container) -> None:
        name, now_s = container.name, time.time()
        restart = self.state.containers[name].restarts
        try:
            process = await self._host.runtime.start(self.pod, container, restart, self._place, identity=self._identity)
        except StartError as error:
            self._host.events.warn(self.pod, "Failed", f"{name}: {error}")
            policy = self.pod.restart_policy(name)
            self.state = podstate.container_start_failed(self.state, name, str(error), policy, now_s)
        except (MissingReferenceError, *TRANSIENT) as error:
            self._host.events.warn(self.pod, "Failed", f"{name}: {error}")
            self.state = podstate.configuration_missing(self.state, name, str(error), time.time())
        else:
            self._started(container, process)

    def _started(self, container: Container, process: Running) -> None:
        self.running[container.name] = process
        self.state = podstate.container_started(self.state, container, process.identity, time.time())
        log = self._host.runtime.folder(self.pod).log(container.name, self.state.containers[container.name].restarts)
        self._spawn(self._watch(container, process, log))
        if isinstance(process, LocalProcess):
            self._probes[container.name] = asyncio.create_task(self._probe(container, process))
        else:
            self.state = podstate.readiness_changed(
                podstate.startup_passed(self.state, container), container.name, ready=True
            )
        _LOG.info("%s: %s started as %s", self.pod.label, container.name, process.identity)

    async def _watch(self, container: Container, process: Running, log: Path) -> None:
        code = await process.wait()
        name, policy = container.name, self.pod.restart_policy(container.name)
        message = last_words(container, log, code)
        _LOG.info("%s: %s ended with %d", self.pod.label, name, code)

        def ended(state: PodState) -> PodState:
            self.running.pop(name, None)
            if (probes := self._probes.pop(name, None)) is not None:
                probes.cancel()
            after = podstate.container_exited(state, name, code, policy, time.time(), message=message)
            if after.containers[name].phase is Phase.WAITING:
                self._host.events.warn(self.pod, "BackOff", f"{name}: {after.containers[name].message}")
            return after

        self._changes.put_nowait(ended)

    def _target(self, container: Container, process: LocalProcess) -> Target:
        runtime = self._host.runtime
        assert isinstance(runtime, LocalRuntime), "only local processes are probed"
        return Target(container, self.pod_ip, partial(runtime.beside, process), self._host.http)

    async def _probe(self, container: Container, process: LocalProcess) -> None:
        def report(verdict: Verdict) -> None:
            self._changes.put_nowait(partial(self._judge, container, process.identity, verdict))

        await run_probes(container, self._target(container, process), report)

    def _judge(self, container: Container, identity: str, verdict: Verdict, state: PodState) -> PodState:
        name = container.name
        current = state.containers[name]
        if current.phase is not Phase.RUNNING or current.container_id != identity:
            return state
        if current.stop is None and not verdict.ok:
            self._host.events.warn(self.pod, "Unhealthy", f"{name}: {verdict.kind} probe failed: {verdict.message}")
        if verdict.kind is ProbeKind.READINESS:
            return podstate.readiness_changed(state, name, ready=verdict.ok)
        if verdict.kind is ProbeKind.STARTUP and verdict.ok:
            return podstate.startup_passed(state, container)
        if current.stop is not None:
            return state
        deadline_s = time.time() + self.pod.spec.termination_grace_period_seconds
        return podstate.unhealthy(state, name, deadline_s)

    async def _hook(self, container: Container, process: Running) -> None:
        hook = container.pre_stop
        if hook is not None and isinstance(process, LocalProcess):
            await self._run_hook(hook, container, process)
        done = partial(podstate.stop_advanced, name=container.name, step=StopStep.HOOK_DONE)
        self._changes.put_nowait(done)

    async def _run_hook(self, hook: Handler, container: Container, process: LocalProcess) -> None:
        limit_s = float(self.pod.spec.termination_grace_period_seconds)
        answer = await check(hook, self._target(container, process), limit_s)
        if not answer.ok:
            self._host.events.warn(self.pod, "FailedPreStopHook", f"{container.name}: {answer.message}")

    async def _say_goodbye(self) -> None:
        """Write the final status and remove the pod's object; a pod that is removed or silent needs neither."""
        if self._silent or self.state.removed:
            return
        try:
            async with asyncio.timeout(_FLUSH_TIMEOUT_S):
                await self._publisher.flushed()
        except TimeoutError:
            _LOG.warning("%s: its final status could not be written", self.pod.label)
        while not self._silent and not self.state.removed:
            if await self._deleted():
                return
            await asyncio.sleep(_DELETE_RETRY_S)
            self._catch_up()

    async def _deleted(self) -> bool:
        try:
            await delete_pod(self._host.api, self.pod.metadata.namespace, self.pod.metadata.name, self.pod.uid)
        except TRANSIENT as error:
            _LOG.info("%s: not removed yet: %s", self.pod.label, error)
            return False
        return True

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
