"""Child processes that cannot outlive their parent, and processes remembered across restarts of their keeper."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.02
_libc = ctypes.CDLL(None, use_errno=True)


class ProcessRecord(msgspec.Struct, frozen=True):
    """A process that is recognised again: its number and the clock tick of its start, since numbers are reused."""

    name: str
    pid: int
    start_ticks: int

    def is_alive(self) -> bool:
        """Tell whether this very process still runs; a zombie does not."""
        return start_ticks(self.pid) == self.start_ticks

    def send(self, signal_number: int) -> None:
        """Signal the process and its group if it leads one; a process that is gone is fine."""
        if not self.is_alive():
            return
        try:
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal_number)
            else:
                os.kill(self.pid, signal_number)
        except ProcessLookupError:
            return


def start_ticks(pid: int) -> int | None:
    """Return when `pid` started, in clock ticks since boot; None when there is no such living process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def record_of(name: str, pid: int) -> ProcessRecord | None:
    """Return the record of the living process `pid`, None when it is gone."""
    ticks = start_ticks(pid)
    return None if ticks is None else ProcessRecord(name, pid, ticks)


def spawn_tethered(argv: Sequence[str], log: Path, env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start `argv` in a session of its own, logging to `log`; the kernel kills it when the caller dies.

    The tether belongs to the calling *thread*, so callers must be single-threaded (the supervisor is).
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,
            preexec_fn=_tether(os.getpid()),  # noqa: PLW1509  the supervisor has one thread
        )


def wait_until_gone(records: Iterable[ProcessRecord], timeout_s: float) -> list[ProcessRecord]:
    """Wait until all have ended; return those still alive after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    alive = [record for record in records if record.is_alive()]
    while alive and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        alive = [record for record in alive if record.is_alive()]
    return alive


def kill_all(records: Iterable[ProcessRecord], timeout_s: float = 5.0) -> None:
    """SIGKILL all and wait until they are gone."""
    remaining = list(records)
    for record in remaining:
        record.send(signal.SIGKILL)
    wait_until_gone(remaining, timeout_s)


def processes_living_in(folder: Path) -> list[ProcessRecord]:
    """Return this user's processes at home below `folder`: the pods of a dead agent.

    A shell that went there to read logs has its home elsewhere and is left alone.
    """
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = [record_of("pod", pid) for pid in numbers if pid != os.getpid() and _lives_in(pid, folder)]
    return [record for record in found if record is not None]


def _lives_in(pid: int, folder: Path) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    homes = [Path(os.fsdecode(text.split(b"=", 1)[1])) for text in variables if text.startswith((b"HOME=", b"TMPDIR="))]
    return any(home.is_relative_to(folder) for home in homes)


def _tether(parent: int) -> Callable[[], None]:
    def before_exec() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec
