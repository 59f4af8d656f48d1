"""A process that runs loads and says when each token was there."""

import collections
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

import msgspec

from tierline.bench.protocol import Answer, Done, Load, Ready, Request, Setup

SETUP_SECONDS: Final = 900.0
LOAD_SECONDS: Final = 900.0
_LAST_WORDS: Final = 12


class ContestantFailed(RuntimeError):
    """A contestant could not be set up, failed a load, or did not answer; the message says which and why."""


class Contestant:
    """One engine in a process of its own. Use as a context manager: its end ends the process."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        self._last_words: collections.deque[str] = collections.deque(maxlen=_LAST_WORDS)
        self._threads = [self._thread(self._read_answers), self._thread(self._read_log)]

    def setup(self, setup: Setup) -> Ready:
        """Make the engine; raises `ContestantFailed`."""
        answer = self._ask(Request(setup=setup), SETUP_SECONDS)
        if answer.ready is None:
            raise self._failure("said nothing of its setup")
        return answer.ready

    def run(self, load: Load) -> Done:
        """Run a load; raises `ContestantFailed`."""
        answer = self._ask(Request(load=load), LOAD_SECONDS)
        if answer.done is None:
            raise self._failure("said nothing of its load")
        empty = [number for number, stream in enumerate(answer.done.streams) if not stream.token_s]
        if empty:
            raise self._failure(f"gave no token of stream {empty[0]}")
        return answer.done

    def close(self) -> None:
        """End the process and wait for it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(20)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()

    def _ask(self, request: Request, limit_s: float) -> Answer:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=limit_s)
            answer = msgspec.json.decode(line, type=Answer)
        except (Empty, BrokenPipeError) as error:
            self._process.kill()
            raise self._failure(
                f"did not answer within {limit_s:.0f} s" if isinstance(error, Empty) else "ended"
            ) from error
        except msgspec.MsgspecError as error:
            raise self._failure(f"answered {line[:200]!r}" if line else "ended without an answer") from error
        if answer.error:
            raise self._failure(answer.error)
        return answer

    def _failure(self, problem: str) -> ContestantFailed:
        if self._process.poll() is not None:
            self._threads[-1].join()
        words = "\n".join(self._last_words)
        return ContestantFailed(f"{self.name}: {problem}" + (f"\nits last words:\n{words}" if words else ""))

    def _thread(self, work: "collections.abc.Callable[[], None]") -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(line)
        self._answers.put(b"")

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._last_words.append(line.decode(errors="replace").rstrip())


def peer_python(name: str, given: Mapping[str, Path], cache_dir: Path) -> Path:
    """Return the interpreter of a peer: the given one, or the one that `bench/peers/setup.sh` made.

    Raises `ContestantFailed` when there is none.
    """
    python = given.get(name, cache_dir / "peers" / name / "bin" / "python")
    if not python.is_file():
        raise ContestantFailed(f"{name}: {python} does not exist; run `bash bench/peers/setup.sh {name}`")
    return python
