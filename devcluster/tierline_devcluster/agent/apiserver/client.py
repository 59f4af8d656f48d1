"""A thin asynchronous client of the Kubernetes API: requests, errors with their code, and watches."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self

import aiohttp

from tierline_devcluster.agent.apiserver.credentials import ClusterAccess
from tierline_devcluster.agent.pod.spec import Json

STRATEGIC_MERGE = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
_WATCH_SECONDS = 300
_REQUEST_TIMEOUT_S = 15.0


class ApiError(Exception):
    """An answer of the API server other than success; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


TRANSIENT = (aiohttp.ClientError, ApiError, asyncio.TimeoutError, OSError)
"""What a loop that talks to the API server has to survive."""


class Api:
    """One session with the API server; use as an asynchronous context manager."""

    def __init__(self, access: ClusterAccess) -> None:
        self.access = access
        self._ssl = access.ssl_context()
        self._headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._ssl, limit=64)
        self._session = aiohttp.ClientSession(
            self.access.server,
            connector=connector,
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_S),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "the client is used outside its context"
        return self._session

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        return await self._request("GET", path, params=params)

    async def create(self, path: str, body: Json) -> Json:
        return await self._request("POST", path, body)

    async def delete(self, path: str, body: Json | None = None) -> Json:
        return await self._request("DELETE", path, body)

    async def patch(self, path: str, body: Json, content_type: str = STRATEGIC_MERGE) -> Json:
        return await self._request("PATCH", path, body, content_type=content_type)

    async def _request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
    ) -> Json:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with self.session.request(method, path, data=data, headers=headers, params=params) as answer:
            content = await answer.read()
        if answer.status >= 400:
            raise ApiError(answer.status, _message(content))
        return dict(json.loads(content))

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Json]:
        """Yield watch events until the server ends the watch; raises `ApiError` (410 when the version is too old)."""
        query = {**params, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_SECONDS)}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_REQUEST_TIMEOUT_S)
        async with self.session.get(path, params=query, timeout=timeout) as answer:
            if answer.status >= 400:
                raise ApiError(answer.status, _message(await answer.read()))
            async for line in _lines(answer.content):
                yield json.loads(line)


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Split into lines without a limit of their length: objects may be larger than any reader's buffer."""
    pending = b""
    async for chunk in stream.iter_any():
        *complete, pending = (pending + chunk).split(b"\n")
        for line in complete:
            yield line


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content).get("message", ""))
    except (ValueError, AttributeError):
        return content.decode(errors="replace")[:200]
