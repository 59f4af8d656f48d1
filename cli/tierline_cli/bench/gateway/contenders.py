"""What is measured: no gateway at all, ours, and peers, each with pretended workers behind it."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tierline_cli.bench.contestant import ContestantFailed, peer_python
from tierline_cli.bench.gateway.http_client import Exchange
from tierline_cli.bench.gateway.loads import run_once
from tierline_cli.bench.gateway.processes import BenchProcess, own
from tierline_cli.errors import CommandFailed

OURS: Final = "tierline"
DIRECT: Final = "direct"
PEERS: Final = ("smg",)
READY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Cores:
    """Where what is measured runs, and where clients and workers do; the same one where there is only one."""

    measured: frozenset[int]
    others: frozenset[int]

    @classmethod
    def of_this_process(cls) -> "Cores":
        first, *rest = sorted(os.sched_getaffinity(0))
        return cls(frozenset({first}), frozenset(rest[:1] or {first}))


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that answers on `port`; `process` is what is measured of it, None where nothing is in between."""

    name: str
    port: int
    process: BenchProcess | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """How contenders are started: on which cores, with which tokenizer, before how many workers."""

    cores: Cores
    model_path: Path
    cache_dir: Path
    peer_pythons: dict[str, Path] = field(default_factory=dict)
    workers: int = 8

    @contextmanager
    def contender(self, name: str, period_ms: float) -> Iterator[Contender]:
        """Start `name` with workers that give each request a token every `period_ms`; raises `CommandFailed`."""
        with ExitStack() as stack:
            kind = "mock_worker" if name == OURS else "mock_server"
            behind = stack.enter_context(BenchProcess(own(kind, str(self.workers), str(period_ms)), self.cores.others))
            ports = [int(port) for port in behind.told()["ports"]]
            if name == DIRECT:
                yield Contender(name, ports[0])
            elif name == OURS:
                gateway = BenchProcess(own("served", str(self.model_path), *map(str, ports)), self.cores.measured)
                stack.enter_context(gateway)
                yield Contender(name, int(gateway.told()["port"]), gateway)
            else:
                yield self._peer(name, ports, stack)

    def _peer(self, name: str, ports: list[int], stack: ExitStack) -> Contender:
        port, process = _free_port(), None
        try:
            python = peer_python(name, self.peer_pythons, self.cache_dir)
        except ContestantFailed as error:
            raise CommandFailed(str(error)) from error
        process = BenchProcess(_smg_command(python, port, ports), self.cores.measured)
        stack.enter_context(process)
        stack.callback(process.terminate)
        _wait_until_it_answers(port, process)
        return Contender(name, port, process)


def _smg_command(python: Path, port: int, workers: list[int]) -> list[str]:
    urls = [f"http://127.0.0.1:{worker}" for worker in workers]
    listen = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-host", "127.0.0.1"]
    return [
        *(str(python), "-m", "smg", "launch"),
        *("--worker-urls", *urls),
        *listen,
        *("--prometheus-port", str(_free_port()), "--policy", "round_robin", "--backend", "openai"),
        *("--log-level", "warn", "--max-concurrent-requests", "-1"),
    ]


def _wait_until_it_answers(port: int, process: BenchProcess) -> None:
    give_up_s = time.monotonic() + READY_SECONDS
    problem = "nothing"
    while process.running and time.monotonic() < give_up_s:
        exchange: Exchange = asyncio.run(run_once(port))
        if exchange.ok:
            return
        problem = exchange.problem
        time.sleep(0.2)
    raise process.failure(f"did not answer ({problem})")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
