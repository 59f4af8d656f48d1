"""Several gateway processes in one pod: one port, one set of metrics, one fairness; one that dies is started again."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from shared_worker import SharedWorker

from tierline_gateway.pod.supervisor import Supervisor

SUPPORT = Path(__file__).parents[2] / "support"


@dataclass
class Pod:
    supervisor: Supervisor
    http_port: int
    stop: asyncio.Event
    running: asyncio.Task[None]

    async def admin(self, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.supervisor.admin_port}/{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def until(self, path: str, wanted: str) -> None:
        async with asyncio.timeout(30):
            while wanted not in (await self.admin(path))[1]:  # noqa: ASYNC110 - the pod tells nobody
                await asyncio.sleep(0.05)

    async def ask(self, tokens: int = 4) -> int:
        """Ask over a connection of its own, so that the kernel deals out each request."""
        body = {"model": "m", "prompt": "hi", "max_tokens": tokens}
        async with (
            aiohttp.ClientSession(headers={"Authorization": "Bearer key-acme"}) as session,
            session.post(f"http://127.0.0.1:{self.http_port}/v1/completions", json=body) as answer,
        ):
            await answer.read()
            return answer.status

    async def promised(self) -> str:
        """Ask for an answer that comes later; returns where it will be."""
        body = {"model": "m", "prompt": "hi", "max_tokens": 4}
        async with (
            aiohttp.ClientSession(headers={"Authorization": "Bearer key-acme", "Prefer": "respond-async"}) as session,
            session.post(f"http://127.0.0.1:{self.http_port}/v1/completions", json=body) as answer,
        ):
            return answer.headers["Location"]

    async def status_of(self, location: str) -> str:
        async with (
            aiohttp.ClientSession(headers={"Authorization": "Bearer key-acme"}) as session,
            session.get(f"http://127.0.0.1:{self.http_port}{location}") as answer,
        ):
            return str((await answer.json())["status"])

    def pids(self) -> list[int]:
        return [child._process.pid for child in self.supervisor.children if child._process is not None]


@pytest.fixture
async def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pod]:
    monkeypatch.setenv("TIERLINE_STATE_DIR", str(tmp_path / "answers"))
    worker = SharedWorker(period_s=0.002)
    await worker.start()
    # Held open, so that nobody else gets it; the processes share it.
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
        script = str(SUPPORT / "gateway_process.py")
        supervisor = Supervisor(2, (sys.executable, script, "demo/gw", str(port), str(worker.port), "acme=1"))
        stop = asyncio.Event()
        made = Pod(supervisor, port, stop, asyncio.create_task(supervisor.run("127.0.0.1", 0, stop)))
        async with asyncio.timeout(10):
            while not supervisor.admin_port:  # noqa: ASYNC110 - it is set once the port is open
                await asyncio.sleep(0.01)
        yield made
        stop.set()
        await made.running
        await worker.stop()


async def test_processes_of_a_pod_serve_as_one(pod: Pod) -> None:
    await pod.until("metrics", "tierline_gateway_sharing_gateways 2.0")
    assert await pod.admin("readyz") == (200, "ok")
    await pod.until("metrics", 'tierline_gateway_workers{model="m",state="serving"} 1.0')
    assert set(await asyncio.gather(*(pod.ask() for _ in range(20)))) == {200}
    counted = 'tierline_gateway_requests_total{model="m",outcome="length",tenant="acme",tier="interactive"} 20.0'
    assert counted in (await pod.admin("metrics"))[1]
    assert await pod.admin("debug/requests") == (200, "[]")

    first, second = pod.pids()
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(10):
        while (await pod.admin("readyz"))[0] == 200:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert (await pod.admin("livez"))[0] == 200
    await pod.until("readyz", "ok")
    assert second in pod.pids()
    assert first not in pod.pids()

    location = await pod.promised()
    async with asyncio.timeout(30):
        while await pod.status_of(location) != "done":  # noqa: ASYNC110 - a client polls
            await asyncio.sleep(0.05)
    statuses = await asyncio.gather(*(pod.status_of(location) for _ in range(10)))
    assert set(statuses) == {"done"}, "what one process promised every process knows"

    asking = asyncio.create_task(pod.ask(tokens=200))
    await pod.until("debug/requests", '"state": "RUNNING"')
    pod.stop.set()
    assert await asking == 200
    await pod.running
