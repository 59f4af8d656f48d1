"""The benchmark's processes: started on a core of their own, ended with their input, measured from outside."""

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from tierline_cli.errors import CommandFailed

START_SECONDS: Final = 60.0
END_SECONDS: Final = 10.0
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LAST_WORDS: Final = 20


class BenchProcess:
    """A child on the given cores. Use as a context manager: its end ends the process."""

    def __init__(self, command: Sequence[str], cores: frozenset[int], environ: Mapping[str, str] | None = None) -> None:
        self.command = command
        self._process = subprocess.Popen(
            ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
            text=True,
        )
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "BenchProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def told(self) -> dict[str, Any]:
        """Return the line of JSON that the process prints when it is ready; raises `CommandFailed`."""
        try:
            line = self._lines.get(timeout=START_SECONDS)
        except Empty:
            line = ""
        try:
            found: dict[str, Any] = json.loads(line)
        except ValueError:
            raise self.failure("did not start") from None
        return found

    def failure(self, problem: str) -> CommandFailed:
        words = "\n".join(self._last_words)
        return CommandFailed(f"{' '.join(self.command[:4])} {problem}; its last words:\n{words}")

    def cpu_seconds(self) -> float:
        """Processor time of the process so far, all its threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE_BYTES

    def close(self) -> None:
        """Ask the process to end, and end it when it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def terminate(self) -> None:
        """End a process that does not look at its input."""
        self._process.terminate()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._last_words.append(line.rstrip())
                self._lines.put(line)


def own(module: str, *arguments: str) -> list[str]:
    """Return the command of one of this package's processes."""
    return [sys.executable, "-m", f"{__package__}.{module}", *arguments]
