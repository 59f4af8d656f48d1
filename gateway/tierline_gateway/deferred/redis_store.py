"""Records in Redis or Valkey, for gateways of several pods: each change is one script, so none is ever seen half done.

What was put is as durable as the server makes it. Keys carry the fleet as a hash tag, so that they lie together in a
cluster; all go `KEPT_SECONDS` after they were last written, which is longer than any record is kept. Calls that touch
many records do so `_PAGE` at a time, since a script holds up everybody.
"""

from collections.abc import Awaitable, Collection
from typing import Any, Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from tierline_gateway.cancellation import heeding
from tierline_gateway.deferred.redis_scripts import FORGET, PURGE, READ, RENEW, TAKE, WRITE
from tierline_gateway.deferred.store import Record, StoreUnavailable, Usage

DEADLINE_S: Final = 10.0
CONNECT_DEADLINE_S: Final = 2.0
CONNECTIONS: Final = 8
KEPT_SECONDS: Final = 90 * 24 * 3600
_PAGE: Final = 500
_ALL: Final = "\U0010ffff"

T = TypeVar("T")


class RedisRecords:
    """A `RecordStore` at `url`; `fleet` keeps fleets apart."""

    def __init__(self, url: str, fleet: str, password: str | None = None) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            password=password,
            max_connections=CONNECTIONS,
            timeout=DEADLINE_S,
            socket_timeout=DEADLINE_S,
            socket_connect_timeout=CONNECT_DEADLINE_S,
        )
        self._redis: Redis = Redis(connection_pool=pool)
        self._base = f"tierline:{{{fleet}}}:answers"
        self._scripts = {text: self._redis.register_script(text) for text in (WRITE, FORGET, PURGE, READ, TAKE, RENEW)}

    async def put(self, record: Record, holder: str = "") -> None:
        await self._write("put", record, holder, b"")

    async def add(self, record: Record) -> bool:
        return await self._write("add", record, "", b"")

    async def replace(self, record: Record, before: bytes) -> bool:
        return await self._write("replace", record, "", before)

    async def get(self, kind: str, record_id: str) -> Record | None:
        fields: list[Any] = await self._answer(self._redis.hmget(self._key(kind, record_id), ["t", "d", "b", "e", "u"]))
        return _record(kind, record_id, *fields) if fields[0] is not None else None

    async def find(self, kind: str, prefix: str = "", tenant: str | None = None) -> list[Record]:
        found: list[Record] = []
        after = ""
        while True:
            last, page = await self._page(kind, prefix, after, _PAGE, tenant, blobs=False)
            found += page
            if not last:
                return found
            after = last

    async def read(self, kind: str, prefix: str, after: str, most: int) -> list[Record]:
        return (await self._page(kind, prefix, after, most, None, blobs=True))[1]

    async def delete(self, kind: str, prefix: str) -> None:
        while await self._run(FORGET, kind, prefix, prefix + _ALL, _PAGE):
            pass

    async def usage(self, tenant: str | None = None, kind: str | None = None) -> Usage:
        counted = {"n": 0, "b": 0}
        kept: dict[Any, Any] = await self._answer(self._redis.hgetall(f"{self._base}:use"))
        for name, value in kept.items():
            what, of_kind, of_tenant = name.decode().split("/", 2)
            if tenant in (None, of_tenant) and kind in (None, of_kind):
                counted[what] += int(value)
        return Usage(counted["n"], counted["b"])

    async def take(self, kind: str, holder: str, now_s: float, until_s: float, most: int) -> list[Record]:
        return _records(kind, await self._run(TAKE, kind, holder, repr(now_s), repr(until_s), most))

    async def renew(self, kind: str, holder: str, ids: Collection[str], until_s: float) -> frozenset[str]:
        held = await self._run(RENEW, kind, holder, repr(until_s), *ids) if ids else ()
        return frozenset(each.decode() for each in held)

    async def purge(self, now_s: float) -> None:
        while await self._run(PURGE, repr(now_s), _PAGE):
            pass

    async def close(self) -> None:
        await self._redis.aclose(close_connection_pool=True)

    async def _write(self, mode: str, record: Record, holder: str, before: bytes) -> bool:
        named = (mode, record.kind, record.id, record.tenant, record.document, record.blob)
        times = (repr(record.expires_s), repr(record.due_s), holder, before, KEPT_SECONDS)
        return bool(await self._run(WRITE, *named, *times))

    async def _page(
        self, kind: str, prefix: str, after: str, most: int, tenant: str | None, *, blobs: bool
    ) -> tuple[str, list[Record]]:
        """Return the last id that was looked at, empty at the end, and the records found."""
        asked = (kind, prefix, after, prefix + _ALL, most, tenant or "", int(blobs))
        last, *found = await self._run(READ, *asked)
        return last.decode(), _records(kind, found)

    async def _run(self, script: str, *arguments: Any) -> Any:
        return await self._answer(self._scripts[script](keys=[self._base], args=arguments))

    async def _answer(self, call: Awaitable[T]) -> T:
        try:
            return await heeding(call)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"the store of answers: {type(error).__name__}: {error}") from error

    def _key(self, kind: str, record_id: str) -> str:
        return f"{self._base}:{kind}:{record_id}"


def _records(kind: str, flat: list[bytes]) -> list[Record]:
    rows = (flat[at : at + 6] for at in range(0, len(flat), 6))
    return [_record(kind, name.decode(), *fields) for name, *fields in rows]


def _record(kind: str, record_id: str, tenant: bytes, document: bytes, blob: bytes, *times: bytes) -> Record:
    expires_s, due_s = map(float, times)
    return Record(kind, record_id, tenant.decode(), document, blob, expires_s, due_s)
