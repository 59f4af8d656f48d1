"""The API server as JSON over one client: requests, lists in pages, watches, and a login that survives rotation."""

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import kopf
import msgspec
from kubernetes.aio import client, config

from tierline_operator.older_servers import NEW_PATH, as_new, as_old, old_path, speaks_old

log = logging.getLogger(__name__)

APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
PLAIN = "application/json"

REQUEST_SECONDS = 30.0
RETRY_PAUSES_SECONDS = (0.05, 0.2, 0.8)
PAGE_SIZE = 500
WATCH_SECONDS = 300
SILENCE_SECONDS = 90.0
"""A watch that says nothing for so long is dead: the server sends a bookmark about once a minute."""


class ApiError(Exception):
    """An answer of the API server other than success; `reason` is its machine-readable word for it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def is_refusal(self) -> bool:
        """Whether asking again the same way is in vain: the request itself is at fault."""
        return self.status in {400, 403, 413, 422}


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the API server; empty values of `query` are left out.

    `in_parts` leaves the items of the answer as JSON, each to be decoded when its turn comes.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = PLAIN
    in_parts: bool = False


class _List(msgspec.Struct):
    """A list of the API server: `items` are JSON."""

    metadata: dict[str, Any]
    items: list[msgspec.Raw] | None = None


class Cluster:
    """One connection pool to the API server. Create it inside the running loop; `close` it at the end.

    `kubeconfig` is used instead of the pod's own account, which is the default inside a cluster. `sent` is told the
    verb of every request.
    """

    def __init__(self, kubeconfig: str | None = None) -> None:
        self._kubeconfig = kubeconfig or os.environ.get("KUBECONFIG")
        self._client: client.ApiClient | None = None
        self.sent: Callable[[str], None] = lambda _verb: None
        self._speaks_old: bool | None = None

    async def login(self) -> kopf.ConnectionInfo:
        """Read the credentials again, use them from now on, and return them in kopf's form.

        Requests under way are not disturbed: only the token changes.
        """
        settings = client.Configuration()
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not self._kubeconfig:
            config.load_incluster_config(client_configuration=settings)
        else:
            await config.load_kube_config(config_file=self._kubeconfig, client_configuration=settings)
        if self._client is None:
            # Left to aiohttp, the environment's proxy is looked up anew for every request, in another thread.
            settings.client_session_kwargs = {"trust_env": False}
            settings.proxy = settings.proxy or environment_proxy(settings.host)
            self._client = client.ApiClient(settings)
        self._client.configuration.api_key = settings.api_key
        return _connection_info(settings)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def request(self, call: Call) -> dict[str, Any]:
        """Return the answer's JSON; raises `ApiError`, `aiohttp.ClientError` or `TimeoutError`.

        Refused logins and a busy server are tried again a few times: it has not begun the work then.
        """
        for pause in RETRY_PAUSES_SECONDS:
            try:
                return await self.once(call)
            except ApiError as error:
                if error.status not in {401, 429, 503}:
                    raise
                if error.status == 401:
                    await self.login()
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter
        return await self.once(call)

    async def list_all(self, path: str, query: Mapping[str, str]) -> tuple[list[dict[str, Any]], str]:
        """Return every object and the version of the list, read in pages."""
        items: list[dict[str, Any]] = []
        version = ""
        async for page, at in self.pages(path, query):
            items.extend(page)
            version = at
        return items, version

    async def pages(self, path: str, query: Mapping[str, str]) -> AsyncIterator[tuple[Iterator[dict[str, Any]], str]]:
        """Yield a list page by page, each with the version of the list.

        Objects are decoded one by one: thousands of pods at once take several times what is kept of them.
        """
        token = ""
        # A server may have been upgraded since the last list.
        self._speaks_old = None
        while True:
            asked = {**query, "limit": str(PAGE_SIZE), "continue": token}
            page = await self.request(Call("GET", path, asked, in_parts=True))
            yield map(msgspec.json.decode, page["items"]), page["metadata"]["resourceVersion"]
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def watch(self, path: str, query: Mapping[str, str], version: str) -> AsyncIterator[dict[str, Any]]:
        """Yield watch events after `version` until the server ends the stream; raises as `request` does."""
        asked = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=SILENCE_SECONDS)
        async with self._open(await self._as_served(Call("GET", path, asked)), timeout) as response:
            if response.status >= 400:
                raise _error(response.status, await response.read())
            async for line in response.content:
                if line.strip():
                    event = msgspec.json.decode(line)
                    yield {**event, "object": as_new(event["object"])}

    async def once(self, call: Call) -> dict[str, Any]:
        """Try the request once; raises as `request` does."""
        answer: dict[str, Any] = as_new(await self._once(await self._as_served(call)))
        return answer

    async def _as_served(self, call: Call) -> Call:
        if not call.path.startswith(NEW_PATH):
            return call
        if self._speaks_old is None:
            self._speaks_old = speaks_old(await self._once(Call("GET", "/apis/policy")))
        return replace(call, path=old_path(call.path), body=as_old(call.body)) if self._speaks_old else call

    async def _once(self, call: Call) -> dict[str, Any]:
        async with self._open(call, aiohttp.ClientTimeout(total=REQUEST_SECONDS)) as response:
            text = await response.read()
            if response.status >= 400:
                raise _error(response.status, text)
            answer: dict[str, Any] = _in_parts(text) if call.in_parts else msgspec.json.decode(text)
            return answer

    @asynccontextmanager
    async def _open(self, call: Call, timeout: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._client is None:
            await self.login()
        api: Any = self._client
        given = [(name, value) for name, value in call.query.items() if value]
        _, url, headers, _, _ = await api.param_serialize(
            call.method, call.path, query_params=given, header_params={}, auth_settings=["BearerToken"]
        )
        headers |= {"Content-Type": call.content_type, "Accept": PLAIN}
        self.sent(call.method.lower())
        answer = await api.call_api(call.method, url, headers, call.body, _request_timeout=timeout)
        async with answer.response as response:
            yield response


def environment_proxy(server: str) -> str | None:
    """Return the proxy that the environment names for a server, None for the direct way."""
    url = urlsplit(server)
    return None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)


def _in_parts(text: bytes) -> dict[str, Any]:
    told = msgspec.json.decode(text, type=_List)
    return {"metadata": told.metadata, "items": told.items or ()}


def _error(status: int, text: bytes) -> ApiError:
    try:
        told = msgspec.json.decode(text)
    except ValueError:
        told = {}
    message = told.get("message") or text.decode(errors="replace")[:500] or f"HTTP {status}"
    return ApiError(status, told.get("reason", ""), message)


def _connection_info(settings: client.Configuration) -> kopf.ConnectionInfo:
    scheme, _, token = (settings.api_key.get("BearerToken") or "").partition(" ")
    return kopf.ConnectionInfo(
        server=settings.host,
        ca_path=settings.ssl_ca_cert,
        insecure=not settings.verify_ssl,
        scheme=scheme if token else None,
        token=token or None,
        certificate_path=settings.cert_file,
        private_key_path=settings.key_file,
    )
