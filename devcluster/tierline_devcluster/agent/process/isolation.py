"""Kernel facilities that keep containers from outliving the agent.

A container's process gets SIGKILL when the agent dies (parent-death signal); the kernel ties that to the thread that
started it, so everything is started from the main thread. The agent adopts its descendants' orphans, and a sentinel
process kills whatever is left should the agent die suddenly.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tierline_devcluster.agent.process import strays

_PR_SET_CHILD_SUBREAPER = 36


class StartError(Exception):
    """A command that cannot be started; the message says why."""


def tied_to_agent(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> list[str]:
    """Return the words that start `argv` with the parent-death signal set; raises `StartError` when it is not found.

    A helper program sets the signal, because a Python hook between fork and exec would make every start copy the agent.
    """
    found = shutil.which(argv[0], path=env.get("PATH", ""))
    if found is None:
        raise StartError(f"command {argv[0]!r} is not in the pod's PATH ({env.get('PATH', '')})")
    if not cwd.is_dir():
        raise StartError(f"workingDir {cwd} does not exist on this machine")
    return ["setpriv", "--pdeathsig", "KILL", "--", found, *argv[1:]]


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, so that it can find and reap them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become the reaper of orphans")


def start_sentinel(agent_id: str) -> subprocess.Popen[bytes]:
    """Start the process that kills what this agent leaves behind should it die suddenly."""
    argv = [sys.executable, "-I", "-S", strays.__file__, agent_id]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)


def children() -> list[int]:
    """Return the ids of this process's children, adopted ones included."""
    own = os.getpid()
    return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()]
