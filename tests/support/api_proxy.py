"""The real API server behind a proxy that can be sick: busy, or without memory of old versions."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

_HOP_HEADERS = {"host", "content-length", "transfer-encoding", "connection"}


class SickProxy:
    """Forwards everything. While `busy`, answers 503; `forget_versions` ends all watches and expires the next ones.

    A watch from a version that is too old begins well and tells its error as its only event, as on a real server.
    """

    def __init__(self, kubeconfig: str, folder: Path) -> None:
        self._source = yaml.safe_load(Path(kubeconfig).read_text())
        self._folder = folder
        self._watches: set[asyncio.Task[Any]] = set()
        self._expired_until = 0.0
        self.busy = False
        self.refused = 0
        self.expired = 0
        self.kubeconfig = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SickProxy"]:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._forward)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.kubeconfig = self._write_kubeconfig(f"http://127.0.0.1:{port}")
        connector = aiohttp.TCPConnector(ssl=self._trust(), limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._session:
            try:
                yield self
            finally:
                await runner.cleanup()

    def forget_versions(self, seconds: float) -> None:
        """Break every watch; those asked for within the next seconds get 410."""
        self._expired_until = asyncio.get_running_loop().time() + seconds
        for watch in tuple(self._watches):
            watch.cancel()

    async def break_and_busy(self) -> None:
        """Break every watch and be busy from now on."""
        self.busy = True
        for watch in tuple(self._watches):
            watch.cancel()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        if self.busy:
            self.refused += 1
            return _status(503, "ServiceUnavailable")
        watching = request.query.get("watch") == "true"
        if watching and asyncio.get_running_loop().time() < self._expired_until:
            self.expired += 1
            return _expired_watch()
        if not watching:
            return await self._pass_on(request)
        task = asyncio.ensure_future(self._pass_on(request))
        self._watches.add(task)
        try:
            return await task
        finally:
            task.cancel()
            self._watches.discard(task)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {"Accept": "application/json", "Content-Type": request.content_type if body else "application/json"}
        url = f"{self._cluster['server']}{request.raw_path}"
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method, url, headers=headers | self._login(), data=body or None, timeout=timeout
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_HEADERS}
            response = web.StreamResponse(status=answer.status, headers=kept)
            with suppress(ConnectionResetError):
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            return response

    @property
    def _cluster(self) -> dict[str, Any]:
        return dict(self._source["clusters"][0]["cluster"])

    @property
    def _user(self) -> dict[str, Any]:
        return dict(self._source["users"][0]["user"])

    def _login(self) -> dict[str, str]:
        token = self._user.get("token")
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _trust(self) -> ssl.SSLContext:
        authority = self._file(self._cluster, "certificate-authority")
        context = ssl.create_default_context(cafile=str(authority))
        certificate = self._file(self._user, "client-certificate")
        if certificate is not None:
            context.load_cert_chain(certificate, self._file(self._user, "client-key"))
        return context

    def _file(self, section: dict[str, Any], name: str) -> Path | None:
        if section.get(name):
            return Path(section[name])
        if not section.get(f"{name}-data"):
            return None
        path = self._folder / name
        path.write_bytes(base64.b64decode(section[f"{name}-data"]))
        return path

    def _write_kubeconfig(self, server: str) -> str:
        path = self._folder / "proxied-kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxied", "cluster": {"server": server}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "proxied", "context": {"cluster": "proxied", "user": "nobody"}}],
            "current-context": "proxied",
        }
        path.write_text(yaml.safe_dump(content))
        return str(path)


def _status(code: int, reason: str) -> web.Response:
    return web.json_response(_told(code, reason), status=code)


def _expired_watch() -> web.Response:
    return web.json_response({"type": "ERROR", "object": _told(410, "Expired")})


def _told(code: int, reason: str) -> dict[str, Any]:
    told = {"status": "Failure", "code": code, "reason": reason, "message": reason}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **told}
