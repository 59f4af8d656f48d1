"""The other ranks' processes: started with the worker, told every plan, watched, and never outliving it.

A rank reads plans from its pipe and executes them as rank 0 does; it speaks only when that fails. Whatever is computed
is a function of the plans, so nothing else has to be told. A pipe that ends tells a rank that the worker is gone.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from tierline_worker.parallel.group import RankLost

_FAREWELL_SECONDS = 5.0
_DEATH_SEEN_SECONDS = 1.0

RankMain = Callable[[int, Path, Connection], None]


class Ranks:
    """Ranks 1 to `ranks` - 1. `on_lost` gets the reason, once, on a thread of ours, when one of them ends by itself."""

    def __init__(self, ranks: int, main: RankMain, limit_s: int, on_lost: Callable[[str], None]) -> None:
        """Start the processes: each calls `main` (a picklable function) with its rank, the file where the group meets,
        and its pipe."""
        self.limit_s = limit_s
        self._on_lost = on_lost
        self._folder = tempfile.TemporaryDirectory(prefix="tierline-ranks-")
        self.meeting_place = Path(self._folder.name) / "meeting"
        self._lock = threading.Lock()
        self._ended = False
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        for rank in range(1, ranks):
            self._start(rank, main)
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()

    @property
    def process_ids(self) -> list[int]:
        return [process.pid for process in self._processes if process.pid is not None]

    def tell(self, message: object) -> None:
        """Send `message` to every rank; raises `RankLost` when one does not read it in time."""
        for rank, pipe in enumerate(self._pipes, start=1):
            try:
                pipe.send(message)
            except OSError as error:
                raise RankLost(f"rank {rank} takes no plans: {error}") from error

    def failures(self, wait_s: float = 0.0) -> list[str]:
        """Return what ranks failed at since the last call, one entry a rank; waits up to `wait_s` for each."""
        said = []
        for rank, pipe in enumerate(self._pipes, start=1):
            with contextlib.suppress(OSError, EOFError):
                if pipe.poll(wait_s):
                    said.append(f"rank {rank}: {pipe.recv()}")
        return said

    def lose(self, reason: str) -> None:
        """Give up: the ranks are killed and `on_lost` is called, unless that has happened.

        A rank that ended is the better reason, and may be seen a moment after its connection broke.
        """
        with self._lock:
            if self._ended:
                return
            seen = wait([process.sentinel for process in self._processes], _DEATH_SEEN_SECONDS)
            dead = [_obituary(process) for process in self._processes if process.sentinel in seen]
            self._end()
        self._on_lost(f"tensor parallelism broke: {'; '.join(dead) or reason}")

    def close(self) -> None:
        """End all ranks; returns when none is left."""
        with self._lock:
            if not self._ended:
                self._end()

    def _start(self, rank: int, main: RankMain) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        _limit_sending(ours, self.limit_s)
        process = context.Process(target=main, args=(rank, self.meeting_place, theirs), name=f"rank-{rank}")
        process.start()
        theirs.close()
        self._processes.append(process)
        self._pipes.append(ours)

    def _watch(self) -> None:
        wait([process.sentinel for process in self._processes])
        self.lose("a rank ended")

    def _end(self) -> None:
        self._ended = True
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join(_FAREWELL_SECONDS)
        self._folder.cleanup()


def live_as_a_rank() -> None:
    """Begin a rank's process: it leaves it to the worker when to end, and never outlives it, whatever it is doing."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), name="parent", daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(0)


def _limit_sending(pipe: Connection, limit_s: int) -> None:
    """A rank that does not read must not block whoever writes to it."""
    with socket.socket(fileno=os.dup(pipe.fileno())) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", limit_s, 0))


def _obituary(process: BaseProcess) -> str:
    process.join(_FAREWELL_SECONDS)
    code = process.exitcode or 0
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}, see its log"
    return f"{process.name} {how}"
