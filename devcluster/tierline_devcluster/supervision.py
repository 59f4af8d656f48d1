"""Start a supervisor and listen to it, or end one, by the files in its state directory."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import msgspec

from tierline_devcluster.errors import DevclusterError
from tierline_devcluster.processes import kill_all, processes_living_in, wait_until_gone
from tierline_devcluster.progress import Reporter
from tierline_devcluster.state import StateDir
from tierline_devcluster.supervisor import Event

STOP_TIMEOUT_S = 20.0


class ClusterFailed(DevclusterError):
    """A component did not start or ended; the message names it and its log."""


def start_supervisor(state: StateDir, detach: bool, reporter: Reporter) -> "subprocess.Popen[bytes]":
    """Start the state directory's plan and return once every component is ready.

    Unless `detach`, the cluster ends with the calling process, however that ends. Raises `ClusterFailed`.
    """
    argv = [sys.executable, "-m", "tierline_devcluster.supervisor", str(state.root)]
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
    with supervisor.stdout as events:
        for line in events:
            event = msgspec.json.decode(line, type=Event)
            if event.kind == "starting":
                reporter.begin(f"start {event.text}")
            elif event.kind == "started":
                reporter.end(f"start {event.text}", ok=True)
            elif event.kind == "failed":
                raise ClusterFailed(event.text)
            else:
                return
    raise ClusterFailed(f"the supervisor ended before the cluster was ready; log: {state.logs / 'supervisor.log'}")
