"""Processes of containers: started with a marker, seen to end, and not survived by anything they started."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from tierline_devcluster.agent.process import strays
from tierline_devcluster.agent.process.isolation import StartError, children, tied_to_agent

Stream = int | IO[bytes]


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start: its words, its complete environment, its folder, and the container it belongs to."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    marker: str


class Running(Protocol):
    """A started container."""

    @property
    def identity(self) -> str: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    async def wait(self) -> int: ...


class LocalProcess:
    """A process that leads a session of its own."""

    def __init__(self, popen: subprocess.Popen[bytes], command: Command, ended: "asyncio.Future[int]") -> None:
        self.popen = popen
        self.command = command
        self._ended = ended

    @property
    def identity(self) -> str:
        """What the pod's status shows as container id."""
        return f"process://{self.popen.pid}"

    def terminate(self) -> None:
        self._signal_group(signal.SIGTERM)

    def kill(self) -> None:
        self._signal_group(signal.SIGKILL)

    async def wait(self) -> int:
        """Return the exit code, negative for death by signal."""
        return await asyncio.shield(self._ended)

    def _signal_group(self, number: signal.Signals) -> None:
        # Until it is reaped, the group's number cannot be another one's.
        if self.popen.returncode is None:
            os.killpg(self.popen.pid, number)


@dataclass(slots=True)
class ProcessTable:
    """Every process that the agent started itself; a container's end takes its leftovers with it.

    `adopts` says that this process adopts orphans and has no children but those started here and `others`.
    """

    adopts: bool = False
    others: frozenset[int] = frozenset()
    _own: dict[int, LocalProcess] = field(default_factory=dict)
    _containers: dict[str, int] = field(default_factory=dict)

    def start_container(self, command: Command, log: Path) -> LocalProcess:
        """Start a container's main process; raises `StartError` when the command cannot be started."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = self.start(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self._containers[command.marker] = process.popen.pid
        return process

    def start(self, command: Command, *, stdin: Stream, stdout: Stream, stderr: Stream) -> LocalProcess:
        """Start a process beside a container's main one; raises `StartError`."""
        argv = tied_to_agent(command.argv, command.env, command.cwd)
        env = {**command.env, strays.MARKER: command.marker}
        try:
            popen = subprocess.Popen(
                argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=command.cwd, start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise StartError(f"cannot start {command.argv[0]}: {error}") from error
        process = LocalProcess(popen, command, self._watch(popen))
        self._own[popen.pid] = process
        return process

    def _watch(self, popen: "subprocess.Popen[bytes]") -> "asyncio.Future[int]":
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[int] = loop.create_future()
        pidfd = os.pidfd_open(popen.pid)

        def reap() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            # Before the reaping, because until then the group's number is surely still this one's.
            os.killpg(popen.pid, signal.SIGKILL)
            ended.set_result(popen.wait())
            self._forget(popen.pid)

        loop.add_reader(pidfd, reap)
        return ended

    def _forget(self, pid: int) -> None:
        marker = self._own.pop(pid).command.marker
        if self._containers.get(marker) != pid:
            return
        del self._containers[marker]
        for process in self._own.values():
            if process.command.marker == marker:
                process.kill()
        self.sweep()

    def sweep(self) -> None:
        """Reap adopted orphans that ended, and kill those whose container has ended."""
        if not self.adopts:
            return
        for pid in children():
            if pid in self._own or pid in self.others:
                continue
            reaped, _ = os.waitpid(pid, os.WNOHANG)
            if not reaped and strays.marker_of(pid) not in self._containers:
                strays.kill(pid)

    @staticmethod
    def kill_everything(prefix: str) -> None:
        """SIGKILL all processes whose marker begins with `prefix`, wherever they hide."""
        for pid in strays.marked(prefix):
            strays.kill(pid)
