"""The operator as a process: probes, metrics, signals."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest
from operator_testing import eventually

pytestmark = pytest.mark.controlplane


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


@asynccontextmanager
async def replica(world, name):
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": world.kubeconfig,
        "POD_NAME": name,
        "POD_NAMESPACE": world.name,
        "TIERLINE_WATCH_NAMESPACES": world.name,
        "TIERLINE_WORKER_IMAGE": "worker:test",
        "TIERLINE_GATEWAY_IMAGE": "gateway:test",
        "TIERLINE_HTTP_PORT": str(port),
        "TIERLINE_BIND_HOST": "127.0.0.1",
        "TZ": "Pacific/Auckland",
    }
    command = [sys.executable, "-c", "from tierline_operator.main import main; main()"]
    process = await asyncio.create_subprocess_exec(*command, env=env, stderr=asyncio.subprocess.PIPE)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answer(session, url):
    try:
        async with session.get(url) as response:
            return response.status, await response.text()
    except aiohttp.ClientError:
        return None


async def becomes_ready(session, url, leads):
    async def ready():
        # In this order: a replica that waits is ready too, and may come to lead, not ready yet, between two answers.
        metrics, probe = await answer(session, f"{url}/metrics"), await answer(session, f"{url}/readyz")
        return metrics and probe and probe[0] == 200 and f"tierline_operator_leader {leads}.0" in metrics[1]

    await eventually(ready, f"{url} ready with leader={leads}")


async def ends(process):
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 0, errors.decode()
    assert b"Traceback" not in errors, errors.decode()


async def test_replicas_answer_probes_and_hand_over_at_sigterm(world):
    async with aiohttp.ClientSession() as session, replica(world, "one") as (first, first_url):
        await becomes_ready(session, first_url, leads=1)
        assert (await answer(session, f"{first_url}/livez"))[0] == 200
        async with replica(world, "two") as (second, second_url), replica(world, "three") as (third, third_url):
            await becomes_ready(session, second_url, leads=0)
            await becomes_ready(session, third_url, leads=0)
            await ends(third)
            await ends(first)
            await becomes_ready(session, second_url, leads=1)
            await ends(second)
    lease = await world.objects.get("Lease", "tierline-operator")
    assert lease["spec"]["holderIdentity"] == ""


async def test_a_missing_setting_ends_the_process_with_its_name():
    command = [sys.executable, "-c", "from tierline_operator.main import main; main()"]
    process = await asyncio.create_subprocess_exec(
        *command, env={"PATH": os.environ["PATH"]}, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"POD_NAME is not set" in errors
