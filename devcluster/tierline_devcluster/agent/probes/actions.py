"""Carrying out a probe or hook once: an HTTP request, a TCP connection or a command."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from tierline_devcluster.agent.pod.spec import Container, ExecAction, Handler, HttpGet, Probe, TcpSocket
from tierline_devcluster.agent.process.isolation import StartError
from tierline_devcluster.agent.process.processes import LocalProcess


@dataclass(frozen=True, slots=True)
class Answer:
    """What one check said; `message` is for people."""

    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What a check is aimed at: a container, its pod's address, and how to start a command beside it."""

    container: Container
    pod_ip: str
    start: Callable[[tuple[str, ...]], LocalProcess]
    http: aiohttp.ClientSession


async def check(action: Probe | Handler, target: Target, timeout_s: float) -> Answer:
    """Carry out `action` once; every failure is an answer, nothing is raised."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _check(action, target)
    except TimeoutError:
        return Answer(ok=False, message=f"no answer within {timeout_s:g}s")
    except (aiohttp.ClientError, OSError, StartError) as error:
        return Answer(ok=False, message=f"{type(error).__name__}: {error}")


async def _check(action: Probe | Handler, target: Target) -> Answer:
    if action.http_get is not None:
        return await _http(action.http_get, target)
    if action.exec_ is not None:
        return await _command(action.exec_, target)
    if isinstance(action, Probe) and action.tcp_socket is not None:
        return await _tcp(action.tcp_socket, target)
    return Answer(ok=True)


async def _http(get: HttpGet, target: Target) -> Answer:
    port = target.container.port_number(get.port)
    path = get.path if get.path.startswith("/") else f"/{get.path}"
    url = f"{get.scheme.lower()}://{get.host or target.pod_ip}:{port}{path}"
    headers = {each.name: each.value for each in get.http_headers}
    async with target.http.get(url, headers=headers, allow_redirects=False, ssl=False) as answer:
        if 200 <= answer.status < 400:
            return Answer(ok=True)
        text = (await answer.content.read(200)).decode(errors="replace")
        return Answer(ok=False, message=f"HTTP status {answer.status}: {text}")


async def _tcp(tcp: TcpSocket, target: Target) -> Answer:
    port = target.container.port_number(tcp.port)
    _, writer = await asyncio.open_connection(tcp.host or target.pod_ip, port)
    writer.close()
    return Answer(ok=True)


async def _command(action: ExecAction, target: Target) -> Answer:
    process = target.start(action.command)
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise
    return Answer(ok=code == 0, message=f"exit code {code}")
