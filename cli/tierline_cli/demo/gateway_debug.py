"""The gateway's own account of its requests, from its admin port."""

from collections.abc import Mapping

import aiohttp
import msgspec

TIMEOUT = aiohttp.ClientTimeout(total=5)


class LiveStream(msgspec.Struct, frozen=True):
    """A request that is not done; `worker` is empty while it waits."""

    request_id: str
    tenant: str
    tier: str
    state: str
    worker: str
    emitted_tokens: int
    max_tokens: int


class JournalMove(msgspec.Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """A stream left `source` after `at_emitted` tokens; `target` is empty when it never got to another worker."""

    cause: str
    source: str
    target: str
    at_emitted: int


class JournalEntry(msgspec.Struct, frozen=True):
    """One request as the gateway recorded it, with the ids it emitted; `last_worker` is where it ran in the end."""

    request_id: str
    last_worker: str
    prompt_tokens: int
    emitted_ids: tuple[int, ...]
    recomputed_tokens: int
    duplicates_dropped: int
    moves: tuple[JournalMove, ...]


class GatewayDebug:
    """Reads `/debug/requests`."""

    def __init__(self, admin_url: str, session: aiohttp.ClientSession) -> None:
        self._url = f"{admin_url}/debug/requests"
        self._session = session

    async def live(self) -> tuple[LiveStream, ...]:
        """Return the requests that are not done; raises `aiohttp.ClientError`."""
        return msgspec.json.decode(await self._get(self._url), type=tuple[LiveStream, ...])

    async def journal(self, request_id: str, api_key: str) -> JournalEntry | None:
        """Return what is recorded of a request, None when the gateway does not know it.

        `api_key` is one of the request's tenant: without it the gateway does not show what was generated.
        """
        try:
            answer = await self._get(f"{self._url}/{request_id}", {"Authorization": f"Bearer {api_key}"})
        except aiohttp.ClientResponseError as error:
            if error.status != 404:
                raise
            return None
        return msgspec.json.decode(answer, type=JournalEntry)

    async def _get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        async with self._session.get(url, timeout=TIMEOUT, headers=headers) as answer:
            answer.raise_for_status()
            return await answer.read()
