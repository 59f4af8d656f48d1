"""Start a supervisor and listen to it, or end one, by the files in its state directory."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from tierline_devcluster.errors import DevclusterError
from tierline_devcluster.progress import Reporter
from tierline_devcluster.supervising.processes import kill_all, processes_living_in, wait_until_gone
from tierline_devcluster.supervising.state import StateDir
from tierline_devcluster.supervising.supervisor import Event

STOP_TIMEOUT_S = 20.0


class ClusterFailed(DevclusterError):
    """A component did not start or ended; the message names it and its log."""


def start_supervisor(state: StateDir, detach: bool, reporter: Reporter) -> "subprocess.Popen[bytes]":
    """Start the state directory's plan and return once every component is ready.

    Unless `detach`, the cluster ends with the calling process, however that ends. Raises `ClusterFailed`.
    """
    argv = [sys.executable, "-m", "tierline_devcluster.supervising.supervisor", str(state.root)]
    if not detach:
        argv.append("--until-parent-ends")
    with (state.logs / "supervisor.log").open("ab") as log:
        supervisor = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True, cwd=state.root
        )
    try:
        _await_ready(supervisor, state, reporter)
    except BaseException:
        supervisor.terminate()
        supervisor.wait()
        raise
    return supervisor


def stop_supervisor(state: StateDir) -> bool:
    """End the cluster and every process recorded or found in its pods' folder; tell whether there was one."""
    supervisor = state.living_supervisor()
    if supervisor is not None:
        with suppress(ProcessLookupError):
            os.kill(supervisor.pid, signal.SIGTERM)
        wait_until_gone([supervisor], STOP_TIMEOUT_S)
    leftovers = [record for record in state.processes() if record.is_alive()]
    leftovers += processes_living_in(state.pods)
    kill_all(leftovers)
    return supervisor is not None or bool(leftovers)


def _await_ready(supervisor: "subprocess.Popen[bytes]", state: StateDir, reporter: Reporter) -> None:
    assert supervisor.stdout is not None
    with supervisor.stdout as lines:
        events = (msgspec.json.decode(line, type=Event) for line in lines)
        failure = _follow(events, reporter)
    if failure is not None:
        raise ClusterFailed(failure or f"the supervisor ended early; log: {state.logs / 'supervisor.log'}")


def _follow(events: Iterable[Event], reporter: Reporter) -> str | None:
    """Report the events as steps; return None when all is ready, else what failed (empty when nobody said)."""
    running: list[str] = []
    failure = ""
    for event in events:
        title = f"start {event.text}"
        if event.kind == "ready":
            return None
        if event.kind == "starting":
            running.append(title)
            reporter.begin(title)
        elif event.kind == "started":
            running.remove(title)
            reporter.end(title, ok=True)
        else:
            failure = event.text
    for title in running:
        reporter.end(title, ok=False)
    return failure
