"""The one process that owns all processes of a cluster: starts them in order, watches them, ends them together.

Run as `python -m tierline_devcluster.supervising.supervisor STATE_DIR [--until-parent-ends]`. Its standard output is a
stream of JSON events for whoever started it. Children are tethered, so they die with it even when it is killed.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from tierline_devcluster.components.component import Component, Plan
from tierline_devcluster.components.readiness import is_ready
from tierline_devcluster.supervising.processes import kill_all, processes_living_in, record_of, spawn_tethered
from tierline_devcluster.supervising.state import SUPERVISOR, StateDir, SupervisorReport

POLL_S = 0.05
FOREVER_S = 3600.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Event(msgspec.Struct, frozen=True):
    """One line of the supervisor's standard output."""

    kind: Literal["starting", "started", "ready", "failed"]
    text: str


class _StopRequested(Exception):
    """A signal came or the parent ended."""


class _ComponentFailed(Exception):
    """A component ended by itself or was not ready in time."""


class _Wakeups:
    """Turns signals and the parent's end into something one can wait for without polling."""

    def __init__(self, watch_parent: bool) -> None:
        self._stop = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        self._parent = os.pidfd_open(os.getppid()) if watch_parent else None

    def pause(self, timeout_s: float) -> None:
        """Sleep until something happens; raises `_StopRequested` when the cluster should end."""
        watched = [self._reader.fileno(), *([] if self._parent is None else [self._parent])]
        ready, _, _ = select.select(watched, [], [], timeout_s)
        if self._reader.fileno() in ready:
            self._reader.recv(4096)
        if self._stop or self._parent in ready:
            raise _StopRequested

    def _on_signal(self, number: int, _frame: object) -> None:
        self._stop = self._stop or number != signal.SIGCHLD


class Supervisor:
    """Runs one plan from first start to last stop."""

    def __init__(self, state: StateDir, wakeups: _Wakeups) -> None:
        self._state = state
        self._plan = Plan.load(state.plan)
        self._wakeups = wakeups
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._restarts_left = {component.name: component.restarts for component in self._plan.components}
        self._records = [record for record in [record_of(SUPERVISOR, os.getpid())] if record]
        self._state.save_processes(self._records)

    def run(self) -> int:
        """Start everything, wait for the end, stop everything; return the exit code."""
        self._report(SupervisorReport("starting"))
        last = SupervisorReport("stopped")
        try:
            for stage in self._plan.stages():
                self._start(stage)
            self._report(SupervisorReport("ready"))
            self._say("ready", "")
            self._watch()
        except _StopRequested:
            pass
        except _ComponentFailed as failure:
            last = SupervisorReport("failed", str(failure))
            self._say("failed", str(failure))
        finally:
            self._stop_all()
            self._report(last)
        return 0 if last.phase == "stopped" else 1

    def _start(self, stage: list[Component]) -> None:
        for component in stage:
            self._say("starting", component.name)
            self._spawn(component)
        for component in stage:
            self._await_ready(component)
            self._say("started", component.name)

    def _spawn(self, component: Component) -> None:
        child = spawn_tethered(component.argv, self._log(component.name), component.env)
        self._children[component.name] = child
        record = record_of(component.name, child.pid)
        if record is not None:
            self._records.append(record)
            self._state.save_processes(self._records)

    def _await_ready(self, component: Component) -> None:
        deadline = time.monotonic() + component.deadline_s
        while not is_ready(component):
            self._check_children()
            if time.monotonic() > deadline:
                log = self._log(component.name)
                raise _ComponentFailed(f"{component.name} was not ready in {component.deadline_s:.0f} s; log: {log}")
            self._wakeups.pause(POLL_S)

    def _watch(self) -> None:
        while True:
            self._check_children()
            self._wakeups.pause(FOREVER_S)

    def _check_children(self) -> None:
        for name, child in tuple(self._children.items()):
            code = child.poll()
            if code is None:
                continue
            if self._restarts_left[name] <= 0:
                raise _ComponentFailed(f"{name} ended with exit code {code}; log: {self._log(name)}")
            self._restarts_left[name] -= 1
            self._spawn(next(item for item in self._plan.components if item.name == name))

    def _stop_all(self) -> None:
        """Stop the highest stage first; components with `stop_s` get a SIGTERM and that time."""
        for stage in reversed(self._plan.stages()):
            self._stop([item for item in stage if item.name in self._children])
        kill_all(processes_living_in(Path(self._plan.pod_root)))

    def _stop(self, components: Iterable[Component]) -> None:
        for component in components:
            child = self._children[component.name]
            _signal_group(child, signal.SIGTERM if component.stop_s > 0 else signal.SIGKILL)
        for component in components:
            child = self._children[component.name]
            try:
                child.wait(component.stop_s or None)
            except subprocess.TimeoutExpired:
                _signal_group(child, signal.SIGKILL)
                child.wait()

    def _log(self, name: str) -> Path:
        return Path(self._plan.log_dir) / f"{name}.log"

    def _report(self, report: SupervisorReport) -> None:
        self._state.save_report(report)

    def _say(self, kind: Literal["starting", "started", "ready", "failed"], text: str) -> None:
        line = msgspec.json.encode(Event(kind, text)) + b"\n"
        try:
            os.write(sys.stdout.fileno(), line)
        except BrokenPipeError:
            return


def _signal_group(child: "subprocess.Popen[bytes]", number: int) -> None:
    if child.poll() is None:
        os.killpg(child.pid, number)


def main(arguments: list[str]) -> int:
    """Run the supervisor of the state directory named first."""
    wakeups = _Wakeups(watch_parent="--until-parent-ends" in arguments)
    return Supervisor(StateDir(Path(arguments[0])), wakeups).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
