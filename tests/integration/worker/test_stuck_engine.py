"""A worker whose engine is stuck: the process answers, but it does not count as alive, and sends no heartbeats."""

import asyncio
import os
import signal
import threading
from pathlib import Path

import aiohttp
import pytest
from tiny_checkpoint import write_tiny_checkpoint
from wire_client import WireClient
from worker_process import free_port, worker_environment

from tierline.scheduling.plans import BatchPlan
from tierline.wire.frames import Iteration, Sampling, Submit
from tierline_worker.executor import Executor, Sampled
from tierline_worker.settings import WorkerSettings
from tierline_worker.worker import Worker

HOST = "127.0.0.1"


async def _status(port: int, path: str) -> int:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}{path}") as response:
            return response.status
    except aiohttp.ClientConnectionError:
        return 0


async def _until_status(port: int, path: str, status: int) -> None:
    async with asyncio.timeout(30):
        while await _status(port, path) != status:  # noqa: ASYNC110 a kubelet polls too
            await asyncio.sleep(0.05)


async def test_livez_tells_progress_not_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    frozen, thawed = threading.Event(), threading.Event()
    compute = Executor.compute

    def freezing(self: Executor, plan: BatchPlan) -> Sampled:
        if frozen.is_set():
            thawed.wait()
        return compute(self, plan)

    monkeypatch.setattr(Executor, "compute", freezing)
    model = write_tiny_checkpoint(tmp_path / "tiny")
    wire_port, http_port = free_port(), free_port()
    environ = {**worker_environment(model, wire_port, http_port), "TIERLINE_STALL_SECONDS": "1"}
    running = asyncio.create_task(Worker(WorkerSettings.from_env(environ)).run())
    await _until_status(http_port, "/readyz", 200)
    client = await WireClient.greet(HOST, wire_port)
    client.send(Submit("a", 1, (1, 2, 3), Sampling(300, ignore_eos=True)))
    await client.until(lambda frame: isinstance(frame, Iteration) and bool(frame.tokens))
    assert await _status(http_port, "/livez") == 200
    frozen.set()
    await _until_status(http_port, "/livez", 503)
    assert await _status(http_port, "/startupz") == 200
    await client.silence(0.6)
    frozen.clear()
    thawed.set()
    await client.until(lambda frame: isinstance(frame, Iteration) and any(b.finish_reason for b in frame.tokens))
    await _until_status(http_port, "/livez", 200)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 30)
