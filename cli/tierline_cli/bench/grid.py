"""Which contestants a case has, and their processes, kept as long as the next case needs the same engine."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from tierline.bench.protocol import Ready, Setup
from tierline_cli.bench.cases import Case
from tierline_cli.bench.contestant import Contestant, ContestantFailed

OURS: Final = "tierline"


@dataclass(frozen=True, slots=True)
class Engine:
    """How to start an engine: a command that speaks the protocol."""

    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


def own_engine(threads: int) -> Engine:
    """Return the worker's engine of this interpreter."""
    return Engine((sys.executable, "-m", "tierline_worker.bench"), threads_environment(threads))


def peer_engine(name: str, python: Path, sources: Path, threads: int) -> Engine:
    """Return the peer whose script is in `bench/peers`."""
    script = sources / "bench" / "peers" / f"{name.replace('-', '_')}.py"
    if not script.is_file():
        raise ContestantFailed(f"{name}: {script} does not exist; --sources names a checkout of Tierline")
    return Engine((str(python), str(script)), threads_environment(threads))


def threads_environment(threads: int) -> dict[str, str]:
    """Return what keeps an engine to `threads` threads that sleep while another contestant runs."""
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}


class Grid:
    """The engines of a benchmark: ours, variants of ours, and peers."""

    def __init__(self, ours: Engine, peers: Mapping[str, Engine]) -> None:
        self._ours = ours
        self._peers = peers
        self._open: dict[str, tuple[Contestant, Setup, Ready]] = {}

    def names(self, case: Case) -> list[str]:
        """Return ours, the variants of ours that `case` compares with, and the peers."""
        return [OURS, *case.variants, *self._peers]

    def ready(self, name: str, case: Case, setup: Setup) -> tuple[Contestant, Ready]:
        """Return `name` with its engine made as `setup` says; raises `ContestantFailed`."""
        if name in case.variants:
            setup = msgspec.structs.replace(setup, **case.variants[name].setup)
        if name in self._open:
            contestant, made, ready = self._open[name]
            if made == setup:
                return contestant, ready
            self.drop(name)
        engine = self._peers.get(name, self._ours)
        contestant = Contestant(name, engine.command, engine.environ)
        try:
            ready = contestant.setup(setup)
        except ContestantFailed:
            contestant.close()
            raise
        self._open[name] = contestant, setup, ready
        return contestant, ready

    def drop(self, name: str) -> None:
        """End the process of `name` if there is one."""
        if name in self._open:
            self._open.pop(name)[0].close()

    def close(self) -> None:
        """End all processes."""
        for name in list(self._open):
            self.drop(name)


def available_threads() -> int:
    return len(os.sched_getaffinity(0))
