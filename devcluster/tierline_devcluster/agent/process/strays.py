"""Finding and killing every process that an agent's containers started, also grandchildren in sessions of their own.

Each container's environment carries a marker that its descendants inherit. Run as a script this is the sentinel: it
waits until its agent is gone (standard input ends) and then kills what the agent left behind. Only the standard
library is used, so that the sentinel is small and starts at once.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

MARKER = "TIERLINE_CONTAINER"
_PAUSE_S = 0.02
_ROUNDS = 100


def marker(agent_id: str, uid: str, container: str, restart: int) -> str:
    """Return the marker's value; `agent_id` must not be a prefix of another agent's on this machine."""
    return f"{agent_id}|{uid}/{container}/{restart}"


def marker_of(pid: int) -> str | None:
    """Return a live process's marker; None when it has none, is gone or is another user's."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    wanted = f"{MARKER}=".encode()
    found = (each for each in environment.split(b"\0") if each.startswith(wanted))
    value = next(found, None)
    return None if value is None else value.removeprefix(wanted).decode(errors="replace")


def marked(prefix: str) -> Iterator[int]:
    """Yield the ids of this user's live processes whose marker begins with `prefix`."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (marker_of(int(entry.name)) or "").startswith(prefix):
            yield int(entry.name)


def kill_marked(prefix: str) -> int:
    """SIGKILL every marked process until none is left, since a dying one may just have forked; return how many."""
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        found = list(marked(prefix))
        if not found:
            break
        for pid in found:
            kill(pid)
        killed.update(found)
        time.sleep(_PAUSE_S)
    return len(killed)


def kill(pid: int) -> None:
    """SIGKILL a process that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.stdin.buffer.read()
    kill_marked(sys.argv[1])
