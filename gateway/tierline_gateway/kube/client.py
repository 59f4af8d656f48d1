"""The few calls to the Kubernetes API that a gateway makes. A full client would cost 70 MB of memory per gateway."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec

from tierline_gateway.kube.access import KubeAccess

Json = dict[str, Any]

WATCH_SECONDS = 120
_SILENT_WATCH_SECONDS = WATCH_SECONDS + 15
_LONGEST_EVENT_BYTES = 4 * 1024 * 1024


class KubeError(Exception):
    """The API refused: HTTP status and the server's message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status


class KubeClient:
    """GET, list and watch; close it in the end."""

    def __init__(self, access: KubeAccess) -> None:
        self._access = access
        self._session = aiohttp.ClientSession(
            read_bufsize=_LONGEST_EVENT_BYTES, timeout=aiohttp.ClientTimeout(total=30, sock_connect=5)
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """Return the object or list at `path`; raises `KubeError` or `aiohttp.ClientError`."""
        async with self._request(path, query or {}) as response:
            await _raise_for(response)
            return _decoded(await response.read())

    async def watch(self, path: str, query: Mapping[str, str], version: str) -> AsyncIterator[Json]:
        """Yield events after `version` until the server ends the watch (after `WATCH_SECONDS` at the latest)."""
        wanted = {**query, "watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        wanted["timeoutSeconds"] = str(WATCH_SECONDS)
        # A connection that died without a word shows as silence past the watch's own end.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_SILENT_WATCH_SECONDS)
        async with self._request(path, wanted, timeout) as response:
            await _raise_for(response)
            async for line in response.content:
                yield _decoded(line)

    def _request(
        self, path: str, query: Mapping[str, str], timeout: aiohttp.ClientTimeout | None = None
    ) -> "aiohttp.client._RequestContextManager":
        credentials = self._access.credentials()
        headers = {"Authorization": f"Bearer {credentials.token}"} if credentials.token else {}
        options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        if credentials.tls is not None:
            options["ssl"] = credentials.tls
        return self._session.get(credentials.server + path, params=query, headers=headers, **options)


async def _raise_for(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        text = await response.text()
        raise KubeError(response.status, text[:500])


def _decoded(body: bytes) -> Json:
    decoded: Json = msgspec.json.decode(body)
    return decoded
