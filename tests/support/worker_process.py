"""Starts real worker processes for tests and always ends them."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from wire_client import WireClient

READY_SECONDS = 60
HOST = "127.0.0.1"


@dataclass
class WorkerProcess:
    process: asyncio.subprocess.Process
    wire_port: int
    http_port: int
    log: Path

    async def probe(self, path: str) -> tuple[int, str]:
        """Return status and text of an HTTP path, (0, "") while nobody listens."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{HOST}:{self.http_port}{path}") as response,
            ):
                return response.status, await response.text()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def probe_until(self, path: str, status: int) -> str:
        """Poll as the kubelet does until `path` answers `status`."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                answer, text = await self.probe(path)
                if answer == status:
                    return text
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def connect(self, gateway_id: str = "g") -> WireClient:
        return await WireClient.greet(HOST, self.wire_port, gateway_id)

    def environment(self) -> dict[str, str]:
        """Return the environment that the process was started with."""
        raw = Path(f"/proc/{self.process.pid}/environ").read_text()
        return dict(entry.split("=", 1) for entry in raw.split("\0") if entry)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        async with asyncio.timeout(READY_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def run_worker(directory: Path, source: Path | str, **environment: str) -> AsyncIterator[WorkerProcess]:
    """Run a worker on free loopback ports; `environment` adds to or overrides its settings."""
    wire_port, http_port = free_port(), free_port()
    settings = worker_environment(source, wire_port, http_port) | environment
    log = directory / "worker.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tierline_worker.main", env=settings, stdout=output, stderr=output
        )
    try:
        yield WorkerProcess(process, wire_port, http_port, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def worker_environment(source: Path | str, wire_port: int, http_port: int) -> Mapping[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "POD_NAME": "worker-under-test",
        "TIERLINE_MODEL_SOURCE": str(source),
        "TIERLINE_MODEL_NAME": "tiny",
        "TIERLINE_KV_CACHE_BLOCKS": "128",
        "TIERLINE_MAX_MODEL_TOKENS": "512",
        "TIERLINE_MAX_RUNNING_REQUESTS": "8",
        "TIERLINE_DRAIN_SECONDS": "20",
        "TIERLINE_BIND_HOST": HOST,
        "TIERLINE_WIRE_PORT": str(wire_port),
        "TIERLINE_HTTP_PORT": str(http_port),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
