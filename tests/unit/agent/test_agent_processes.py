"""Real processes: started, tied to their starter, and gone with everything they started."""

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import aiohttp.web
import pytest
from pod_samples import container_json, pod

from tierline_devcluster.agent.probes.actions import Target, check
from tierline_devcluster.agent.probes.loops import run_probes
from tierline_devcluster.agent.probes.thresholds import ProbeKind, Verdict
from tierline_devcluster.agent.process import strays
from tierline_devcluster.agent.process.isolation import StartError
from tierline_devcluster.agent.process.processes import Command, LocalProcess, ProcessTable

ENV = {"PATH": os.environ["PATH"]}


def command(folder: Path, *argv: str) -> Command:
    return Command(argv, ENV, folder, strays.marker(f"{folder}#1|", "uid", "main", 0))


def shell(folder: Path, script: str) -> LocalProcess:
    return ProcessTable().start_container(command(folder, "sh", "-c", script), folder / "c" / "0.log")


async def all_gone(folder: Path) -> None:
    """Wait until nothing of `folder` runs: a child is signalled with its leader, but dies in its own time."""
    deadline = time.monotonic() + 5
    while list(strays.marked(str(folder))):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9)])
async def test_the_end_of_a_process_is_seen(tmp_path: Path, script: str, code: int) -> None:
    assert await shell(tmp_path, script).wait() == code


async def test_output_goes_to_the_log_in_order(tmp_path: Path) -> None:
    await shell(tmp_path, "echo one; echo two >&2; echo three").wait()
    assert (tmp_path / "c" / "0.log").read_text() == "one\ntwo\nthree\n"


async def test_the_environment_is_only_what_was_given(tmp_path: Path) -> None:
    await shell(tmp_path, "env").wait()
    names = {line.partition("=")[0] for line in (tmp_path / "c" / "0.log").read_text().splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "TIERLINE_CONTAINER"}


async def test_signals_reach_the_whole_group(tmp_path: Path) -> None:
    process = shell(tmp_path, "sleep 600 & wait")
    process.terminate()
    assert await process.wait() == -15
    await all_gone(tmp_path)
    process.kill()


async def test_children_in_the_group_end_with_their_leader(tmp_path: Path) -> None:
    process = shell(tmp_path, "sleep 600 & exit 3")
    assert await process.wait() == 3
    await all_gone(tmp_path)


@pytest.mark.parametrize(("argv", "message"), [(("no-such-program",), "no-such-program"), (("/etc/passwd",), "passwd")])
async def test_a_command_that_cannot_start_is_named(tmp_path: Path, argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(StartError, match=message):
        ProcessTable().start_container(command(tmp_path, *argv), tmp_path / "c" / "0.log")


async def test_a_missing_working_folder_is_named(tmp_path: Path) -> None:
    missing = Command(("true",), ENV, tmp_path / "none", "marker")
    with pytest.raises(StartError, match="workingDir"):
        ProcessTable().start_container(missing, tmp_path / "c" / "0.log")


def test_the_sentinel_kills_what_a_dead_agent_left(tmp_path: Path) -> None:
    left = subprocess.Popen(["sleep", "600"], env={**ENV, strays.MARKER: f"{tmp_path}#7|x"}, start_new_session=True)
    other = subprocess.Popen(["sleep", "600"], env={**ENV, strays.MARKER: f"{tmp_path}#8|x"}, start_new_session=True)
    argv = [sys.executable, "-I", "-S", strays.__file__, f"{tmp_path}#7|"]
    sentinel = subprocess.Popen(argv, stdin=subprocess.PIPE)
    try:
        assert left.poll() is None
        assert sentinel.stdin is not None
        sentinel.stdin.close()
        assert left.wait(10) == -9
        assert sentinel.wait(10) == 0
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


async def target(folder: Path, http: aiohttp.ClientSession, port: int = 1) -> Target:
    table = ProcessTable()

    def start(argv: tuple[str, ...]) -> LocalProcess:
        nothing = subprocess.DEVNULL
        return table.start(command(folder, *argv), stdin=nothing, stdout=nothing, stderr=nothing)

    ports = [{"name": "web", "containerPort": port}]
    return Target(pod(container_json(ports=ports)).spec.containers[0], "127.0.0.1", start, http)


@pytest.mark.parametrize(
    ("action", "ok", "message"),
    [
        ({"exec": {"command": ["true"]}}, True, ""),
        ({"exec": {"command": ["false"]}}, False, "exit code 1"),
        ({"exec": {"command": ["sleep", "600"]}}, False, "no answer within"),
        ({"exec": {"command": ["no-such-program"]}}, False, "no-such-program"),
        ({"tcpSocket": {"port": "web"}}, True, ""),
        ({"tcpSocket": {"port": 1}}, False, "refused|Connect"),
        ({"httpGet": {"port": "web", "path": "/ok"}}, True, ""),
        ({"httpGet": {"port": "web", "path": "moved"}}, True, ""),
        ({"httpGet": {"port": "web", "path": "/bad"}}, False, "HTTP status 500"),
        ({"httpGet": {"port": "web", "path": "/slow"}}, False, "no answer within"),
        ({"httpGet": {"port": 1}}, False, "Cannot connect"),
    ],
)
async def test_a_probe_says_what_it_saw(tmp_path: Path, action: dict, ok: bool, message: str) -> None:
    async def handle(request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
        if request.path == "/slow":
            await asyncio.sleep(60)
        status = {"/ok": 200, "/moved": 301}.get(request.path, 500)
        return aiohttp.web.Response(status=status, headers={"Location": "/bad"})

    runner = aiohttp.web.ServerRunner(aiohttp.web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    probe = pod(container_json(livenessProbe=action)).spec.containers[0].liveness_probe
    assert probe is not None
    async with aiohttp.ClientSession() as http:
        answer = await check(probe, await target(tmp_path, http, port), 0.5)
    await runner.cleanup()
    assert answer.ok is ok
    if not ok:
        assert re.search(message, answer.message)


async def verdicts(folder: Path, count: int, **probes: dict) -> list[Verdict]:
    """Run a container's probes until `count` verdicts came."""
    seen: asyncio.Queue[Verdict] = asyncio.Queue()
    container = pod(container_json(**probes)).spec.containers[0]
    async with aiohttp.ClientSession() as http:
        task = asyncio.create_task(run_probes(container, await target(folder, http), seen.put_nowait))
        found = [await asyncio.wait_for(seen.get(), 5) for _ in range(count)]
        task.cancel()
    return found


TRUE, FALSE = ({"exec": {"command": [word]}, "periodSeconds": 0} for word in ("true", "false"))


async def test_liveness_and_readiness_wait_for_the_startup_probe(tmp_path: Path) -> None:
    found = await verdicts(tmp_path, 2, startupProbe=TRUE, readinessProbe=TRUE)
    assert [(each.kind, each.ok) for each in found] == [(ProbeKind.STARTUP, True), (ProbeKind.READINESS, True)]


async def test_a_startup_that_fails_too_often_is_the_only_verdict(tmp_path: Path) -> None:
    (found,) = await verdicts(tmp_path, 1, startupProbe={**FALSE, "failureThreshold": 3}, livenessProbe=TRUE)
    assert (found.kind, found.ok, found.message) == (ProbeKind.STARTUP, False, "exit code 1")


async def test_liveness_speaks_only_when_it_fails(tmp_path: Path) -> None:
    (found,) = await verdicts(tmp_path, 1, livenessProbe=FALSE)
    assert (found.kind, found.ok) == (ProbeKind.LIVENESS, False)
