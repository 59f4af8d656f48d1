"""The operator as a process of its own, seen from outside: its metrics, its time on the CPU, its memory."""

import asyncio
import os
import socket
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tierline_cli.errors import CommandFailed

HOST = "127.0.0.1"
POLL_SECONDS = 0.1
READY_SECONDS = 300.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class OperatorProcess:
    """A running operator that needs no leader election: it is alone."""

    pid: int
    url: str

    async def looks(self, kind: str | None = None) -> float:
        """Return how many reconciliations (of a kind) have ended."""
        return await self._sum("tierline_operator_reconcile_seconds_count", kind)

    async def failures(self) -> float:
        """Return how many of them failed; each is repeated after a pause."""
        return await self._sum("tierline_operator_reconcile_errors_total")

    async def writes(self) -> float:
        """Return how many writes the API server took."""
        return await self._sum("tierline_operator_writes_total")

    async def requests(self) -> float:
        """Return how many requests were sent; those of kopf, which puts the finalizer on, do not count."""
        return await self._sum("tierline_operator_requests_total")

    @property
    def lives(self) -> bool:
        return Path(f"/proc/{self.pid}").exists()

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def memory_mb(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        resident = next(line for line in lines if line.startswith("VmRSS"))
        return int(resident.split()[1]) / 1024

    async def _sum(self, sample: str, kind: str | None = None) -> float:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{self.url}/metrics") as response:
                    text = await response.text()
            except aiohttp.ClientError:
                return 0.0
        families = text_string_to_metric_families(text)
        samples = (it for family in families for it in family.samples if it.name == sample)
        return sum(it.value for it in samples if kind in {None, it.labels.get("kind")})


def cpu_seconds(pid: int) -> float:
    """Return the time that a process has had on the CPU."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_by_program(folder: Path) -> Mapping[str, float]:
    """Return the CPU seconds of all processes that have the cluster's folder in their command line, by program.

    Nodes are one process, which runs as `python`.
    """
    used: dict[str, float] = defaultdict(float)
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0") if entry.name.isdigit() else [""]
            if any(str(folder) in word for word in words):
                name = Path(words[0]).name
                used["nodes" if name.startswith("python") else name] += cpu_seconds(int(entry.name))
        except OSError:
            continue
    return used


@asynccontextmanager
async def running_operator(kubeconfig: Path, log: Path) -> AsyncIterator[OperatorProcess]:
    """Run an operator for all namespaces; its log goes to a file."""
    port = _free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(kubeconfig),
        "POD_NAME": "bench",
        "POD_NAMESPACE": "default",
        "TIERLINE_WORKER_IMAGE": "worker:bench",
        "TIERLINE_GATEWAY_IMAGE": "gateway:bench",
        "TIERLINE_LEADER_ELECTION": "false",
        "TIERLINE_LOG_LEVEL": "warning",
        "TIERLINE_HTTP_PORT": str(port),
        "TIERLINE_BIND_HOST": HOST,
    }
    command = [sys.executable, "-c", "from tierline_operator.main import main; main()"]
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=output, stderr=output)
    try:
        yield OperatorProcess(process.pid, f"http://{HOST}:{port}")
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()


async def until_looked(operator: OperatorProcess, fleets: int) -> None:
    """Wait until as many fleets and as many pools have been looked at; raises `CommandFailed`."""
    async with asyncio.timeout(READY_SECONDS):
        while min([await operator.looks(kind) for kind in ("LLMFleet", "WorkerPool")]) < fleets:
            if not operator.lives:
                raise CommandFailed("the operator ended; see its log in the cluster's folder")
            await asyncio.sleep(POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
