"""The processes of a run: as many real workers as the scenario has, and one gateway, on loopback."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import environ, sched_getaffinity
from pathlib import Path
from typing import Final

from tierline.fleet.wanting import engine_environment
from tierline.sim.scenario import Scenario
from tierline_cli.bench.gateway.processes import BenchProcess
from tierline_cli.errors import CommandFailed

START_SECONDS: Final = 120.0
END_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's process and where it listens."""

    process: subprocess.Popen[bytes]
    wire_port: int
    http_port: int
    log: Path

    @property
    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/readyz", timeout=5):
                return True
        except OSError:
            return False


@contextmanager
def started(scenario: Scenario, scenario_file: Path, model: Path, dtype: str, logs: Path) -> Iterator[str]:
    """Start everything and yield the base URL of the gateway's API; raises `CommandFailed`."""
    with ExitStack() as stack:
        workers = [
            stack.enter_context(_worker(scenario, model, dtype, logs / f"worker-{number}.log"))
            for number in range(scenario.workers.count)
        ]
        _wait_until_ready(workers)
        module = f"{__package__}.served"
        ports = [str(worker.wire_port) for worker in workers]
        command = [sys.executable, "-m", module, str(scenario_file), str(model), *ports]
        gateway = stack.enter_context(BenchProcess(command, frozenset(sched_getaffinity(0))))
        yield f"http://127.0.0.1:{gateway.told()['port']}/v1"


@contextmanager
def _worker(scenario: Scenario, model: Path, dtype: str, log: Path) -> Iterator[Worker]:
    wire_port, http_port = _free_port(), _free_port()
    settings = engine_environment(scenario.workers.engine) | {
        "OMP_WAIT_POLICY": "PASSIVE",
        "POD_NAME": log.stem,
        "TIERLINE_MODEL_SOURCE": str(model),
        "TIERLINE_MODEL_DTYPE": dtype,
        "TIERLINE_BIND_HOST": "127.0.0.1",
        "TIERLINE_WIRE_PORT": str(wire_port),
        "TIERLINE_HTTP_PORT": str(http_port),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tierline_worker.main"], env=dict(environ) | settings, stdout=output, stderr=output
        )
    try:
        yield Worker(process, wire_port, http_port, log)
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(workers: list[Worker]) -> None:
    give_up_s = time.monotonic() + START_SECONDS
    while not all(worker.ready for worker in workers):
        for worker in workers:
            if worker.process.poll() is not None or time.monotonic() > give_up_s:
                raise CommandFailed(
                    f"{worker.log.stem} did not start; its last words:\n{worker.log.read_text()[-2000:]}"
                )
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
