"""`kubectl exec` over a WebSocket: the first byte of each message names its channel.

The protocol is `v5.channel.k8s.io` (KEP-4006), or v4, which cannot close standard input.
"""

import asyncio
import json
import subprocess
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import IO, cast

from aiohttp import WSMsgType, web

from tierline_devcluster.agent.pod.spec import Json
from tierline_devcluster.agent.process.isolation import StartError
from tierline_devcluster.agent.process.processes import LocalProcess, ProcessTable

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_CLOSE = 255
_CHUNK_BYTES = 1 << 15


class Channel(IntEnum):
    """What a message's first byte says."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    STATUS = 3


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A command to run beside a container's process, and whether it gets an input."""

    argv: tuple[str, ...]
    stdin: bool


def exit_status(code: int) -> Json:
    """Return the `Status` that tells kubectl how the command ended."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    shown = code if code > 0 else 128 - code
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {shown}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(shown)}]},
    }


def start_failure(message: str) -> Json:
    """Return the `Status` for a command that could not be started."""
    return {"metadata": {}, "status": "Failure", "reason": "InternalError", "message": message, "code": 500}


async def run_exec(
    socket: web.WebSocketResponse, request: ExecRequest, beside: LocalProcess, table: ProcessTable
) -> None:
    """Run the command in the container of `beside`, and carry its streams until it ends or the client leaves."""
    command = replace(beside.command, argv=request.argv)
    stdin = subprocess.PIPE if request.stdin else subprocess.DEVNULL
    try:
        process = table.start(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except StartError as error:
        await _send(socket, Channel.STATUS, json.dumps(start_failure(str(error))).encode())
        return
    incoming = asyncio.create_task(_feed(socket, process))
    try:
        await asyncio.gather(
            _carry(socket, Channel.STDOUT, process.popen.stdout), _carry(socket, Channel.STDERR, process.popen.stderr)
        )
        status = exit_status(await process.wait())
        await _send(socket, Channel.STATUS, json.dumps(status).encode())
    finally:
        incoming.cancel()
        process.kill()


async def _carry(socket: web.WebSocketResponse, channel: Channel, pipe: IO[bytes] | None) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    while chunk := await reader.read(_CHUNK_BYTES):
        await _send(socket, channel, chunk)


async def _send(socket: web.WebSocketResponse, channel: Channel, data: bytes) -> None:
    if not socket.closed:
        await socket.send_bytes(bytes([channel]) + data)


async def _feed(socket: web.WebSocketResponse, process: LocalProcess) -> None:
    """Pass the client's input on; a client that leaves ends the command."""
    stdin = process.popen.stdin
    async for message in socket:
        if message.type is not WSMsgType.BINARY or stdin is None:
            continue
        data = cast("bytes", message.data)
        if data[0] == _CLOSE and data[1:2] == bytes([Channel.STDIN]):
            stdin.close()
        elif data[0] == Channel.STDIN and not stdin.closed:
            await asyncio.to_thread(_write, stdin, data[1:])
    process.kill()


def _write(stdin: IO[bytes], data: bytes) -> None:
    try:
        stdin.write(data)
        stdin.flush()
    except (BrokenPipeError, ValueError):
        # The command ended, or no longer reads.
        return
