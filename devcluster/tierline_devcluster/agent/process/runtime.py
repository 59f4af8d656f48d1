"""Turning a container's declaration into a live process, or into the pretence of one."""

import asyncio
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tierline_devcluster.agent.apiserver import tokens
from tierline_devcluster.agent.apiserver.client import Api
from tierline_devcluster.agent.pod import references
from tierline_devcluster.agent.pod.environment import PodPlace, resolve, sources
from tierline_devcluster.agent.pod.expansion import expand
from tierline_devcluster.agent.pod.spec import Container, Pod
from tierline_devcluster.agent.process import strays
from tierline_devcluster.agent.process.processes import Command, LocalProcess, ProcessTable, Running


@dataclass(frozen=True, slots=True)
class PodFolder:
    """A pod's files; container names cannot begin with an underscore, so nothing collides."""

    path: Path

    @property
    def home(self) -> Path:
        return self.path / "_home"

    @property
    def scratch(self) -> Path:
        return self.path / "_tmp"

    @property
    def kubeconfig(self) -> Path:
        return self.path / "_kubeconfig"

    def log(self, container: str, restart: int) -> Path:
        return self.path / container / f"{restart}.log"

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.scratch.mkdir(exist_ok=True)

    def tidy(self) -> None:
        """Remove everything but the logs."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.kubeconfig.unlink(missing_ok=True)


class Runtime(Protocol):
    """How containers are run."""

    async def start(
        self, pod: Pod, container: Container, restart: int, place: PodPlace, *, identity: bool
    ) -> Running: ...

    def folder(self, pod: Pod) -> PodFolder: ...


@dataclass(frozen=True, slots=True)
class LocalRuntime:
    """Runs containers as local processes below `pod_root`; `agent_id` marks them as this agent's."""

    api: Api
    table: ProcessTable
    pod_root: Path
    cache_dir: str
    agent_id: str

    def folder(self, pod: Pod) -> PodFolder:
        return PodFolder(self.pod_root / pod.uid)

    async def start(
        self, pod: Pod, container: Container, restart: int, place: PodPlace, *, identity: bool
    ) -> LocalProcess:
        """Start the container's process; `identity` says whether it speaks to the API server as the pod.

        Raises `StartError` (the command), `MissingReferenceError` (its environment) or `ApiError` (its token).
        """
        folder = self.folder(pod)
        folder.prepare()
        if identity and not folder.kubeconfig.exists():
            await tokens.issue_kubeconfig(self.api, pod, folder.kubeconfig)
        contents = await references.fetch(self.api, pod.metadata.namespace, sources(container))
        declared = resolve(pod, container, place, contents)
        env = self._given(pod, folder, place, identity=identity) | declared
        command = Command(
            argv=tuple(expand(word, env) for word in (*container.command, *container.args)),
            env=env,
            cwd=Path(container.working_dir) if container.working_dir else folder.home,
            marker=strays.marker(self.agent_id, pod.uid, container.name, restart),
        )
        return self.table.start_container(command, folder.log(container.name, restart))

    def _given(self, pod: Pod, folder: PodFolder, place: PodPlace, *, identity: bool) -> dict[str, str]:
        """Variables that every container gets; nothing else of the agent's environment reaches it."""
        env = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "HOME": str(folder.home),
            "TMPDIR": str(folder.scratch),
            "HOSTNAME": pod.metadata.name,
            "TIERLINE_CACHE_DIR": self.cache_dir,
            "TIERLINE_BIND_HOST": place.pod_ip,
        }
        return env | ({"KUBECONFIG": str(folder.kubeconfig)} if identity else {})

    def beside(self, running: LocalProcess, argv: tuple[str, ...]) -> LocalProcess:
        """Start a further command in a running container, with no input and its output thrown away."""
        command = replace(running.command, argv=argv)
        nothing = subprocess.DEVNULL
        return self.table.start(command, stdin=nothing, stdout=nothing, stderr=nothing)


class PretendedProcess:
    """A container that is only said to run: it never ends by itself and obeys at once."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def terminate(self) -> None:
        self._end(0)

    def kill(self) -> None:
        self._end(-9)

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)


@dataclass(frozen=True, slots=True)
class PretendingRuntime:
    """Reports containers as running without starting anything: for tests of thousands of pods."""

    pod_root: Path

    def folder(self, pod: Pod) -> PodFolder:
        return PodFolder(self.pod_root / pod.uid)

    async def start(
        self, pod: Pod, container: Container, restart: int, place: PodPlace, *, identity: bool
    ) -> PretendedProcess:
        return PretendedProcess(f"pretended://{pod.uid}/{container.name}/{restart}")
