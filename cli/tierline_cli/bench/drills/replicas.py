"""Replicas of the operator as a Deployment keeps them: one that ends is started again."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

HOST = "127.0.0.1"
RESTART_SECONDS = 0.5
END_SECONDS = 30


@asynccontextmanager
async def operator_replicas(kubeconfig: Path, log: Path, count: int) -> AsyncIterator[None]:
    """Keep so many replicas running; their log goes to a file."""
    keepers = [asyncio.create_task(_keep(kubeconfig, log, f"replica-{at}")) for at in range(count)]
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


async def _keep(kubeconfig: Path, log: Path, name: str) -> None:
    command = [sys.executable, "-c", "from tierline_operator.main import main; main()"]
    while True:
        with log.open("ab") as output:
            environment = _environment(kubeconfig, name)
            process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=output, stderr=output)
        try:
            await process.wait()
        finally:
            await _end(process)
        await asyncio.sleep(RESTART_SECONDS)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), END_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


def _environment(kubeconfig: Path, name: str) -> dict[str, str]:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    return {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(kubeconfig),
        "POD_NAME": name,
        "POD_NAMESPACE": "default",
        "TIERLINE_WORKER_IMAGE": "worker:bench",
        "TIERLINE_GATEWAY_IMAGE": "gateway:bench",
        "TIERLINE_HTTP_PORT": str(port),
        "TIERLINE_BIND_HOST": HOST,
    }
