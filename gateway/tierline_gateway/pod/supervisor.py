"""The parent of a pod's gateway processes: one admin port for all of them, and the store that they share.

All processes listen on the pod's HTTP port (SO_REUSEPORT), and the kernel deals connections out. Each is a gateway of
its own for workers. The pod is ready when all are: a connection may reach any of them.
"""

import asyncio
import contextlib
import json
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from tierline_gateway.pod.children import COMMAND, Child
from tierline_gateway.pod.expositions import merged_exposition
from tierline_gateway.shared.local_store import LocalStore
from tierline_gateway.shared.socket_store import serve_store

ANSWER_S: Final = 1.0
Answer = tuple[int, str]


class Supervisor:
    """Runs `processes` gateways; `command` is one of them."""

    def __init__(self, processes: int, command: Sequence[str] = COMMAND) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tierline-gateway-")
        folder = Path(self._folder.name)
        self._state_socket = folder / "state.sock"
        self.children = [Child(index, folder, command) for index in range(processes)]
        self._ending = False
        self.admin_port = 0

    async def run(self, host: str, admin_port: int, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then let every process finish its streams."""
        loop = asyncio.get_running_loop()
        store = await serve_store(lambda: LocalStore(secrets.token_hex(8), loop.time), self._state_socket)
        admin = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
        await admin.setup()
        await web.TCPSite(admin, host, admin_port).start()
        self.admin_port = int(admin.addresses[0][1])
        running = [asyncio.create_task(child.keep_running(self._state_socket)) for child in self.children]
        await stop.wait()
        self._ending = True
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *(child.end() for child in self.children), return_exceptions=True)
        await admin.cleanup()
        store.close()
        self._folder.cleanup()

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/livez", self._probe)
        app.router.add_get("/readyz", self._probe)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/debug/requests", self._requests)
        app.router.add_get("/debug/{path:.+}", self._first_found)
        return app

    async def _probe(self, request: web.Request) -> web.Response:
        """Fine when all are; a process that is being started again is not ready, but no reason to restart the pod."""
        if self._ending and request.path == "/readyz":
            return web.Response(status=503, text="draining")
        answers = await self._ask_all(request)
        if request.path == "/livez":
            answers = [answer for answer in answers if answer[0]]
        bad = next((answer for answer in answers if answer[0] != 200), None)
        if bad is not None:
            return web.Response(status=503, text=bad[1])
        return web.Response(text=next((text for _, text in answers if text != "ok"), "ok"))

    async def _metrics(self, request: web.Request) -> web.Response:
        answers = await self._ask_all(request)
        body = merged_exposition(text for status, text in answers if status == 200)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _requests(self, request: web.Request) -> web.Response:
        answers = await self._ask_all(request)
        lists = (json.loads(text) for status, text in answers if status == 200)
        return web.json_response([entry for listed in lists for entry in listed])

    async def _first_found(self, request: web.Request) -> web.Response:
        """Return the answer of the process that knows what is asked for."""
        answers = await self._ask_all(request)
        known = next((answer for answer in answers if answer[0] == 200), max(answers))
        return web.Response(status=known[0] or 503, text=known[1], content_type="application/json")

    async def _ask_all(self, request: web.Request) -> list[Answer]:
        return list(await asyncio.gather(*(_ask(child, request) for child in self.children)))


async def _ask(child: Child, request: web.Request) -> Answer:
    """Return a process's status and text; status 0 when it does not answer."""
    headers = {name: value for name, value in request.headers.items() if name.lower() == "authorization"}
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with (
            asyncio.timeout(ANSWER_S),
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(child.admin_socket))) as session,
            session.get(f"http://gateway{request.path_qs}", headers=headers) as answer,
        ):
            return answer.status, await answer.text()
    return 0, f"process {child.index} does not answer"
