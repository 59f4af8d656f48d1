"""Records in an SQLite file: write-ahead log, synchronous FULL, so that what was put survives a crash and a power cut.

Calls run in one thread of their own, one after the other: a sync takes milliseconds that the event loop does not have,
and a caller that is cancelled must not leave its call beside the next one.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tierline_gateway.deferred.store import Record, Usage

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, id TEXT NOT NULL, tenant TEXT NOT NULL, document BLOB NOT NULL, blob BLOB NOT NULL,
    expires_s REAL NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_tenant ON records (kind, tenant);
"""
_LAST = "\U0010ffff"

T = TypeVar("T")


class SQLiteStore:
    """A `RecordStore` in one file of `directory`, which is made if it is not there."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="deferred-store")
        self._database = sqlite3.connect(
            directory / "deferred.sqlite", isolation_level=None, check_same_thread=False, timeout=30
        )
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)

    async def put(self, record: Record) -> None:
        row = (record.kind, record.id, record.tenant, record.document, record.blob, record.expires_s)
        await self._run(lambda: self._database.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)", row))

    async def update(self, kind: str, record_id: str, document: bytes, expires_s: float) -> None:
        change = "UPDATE records SET document = ?, expires_s = ? WHERE kind = ? AND id = ?"
        await self._run(lambda: self._database.execute(change, (document, expires_s, kind, record_id)))

    async def get(self, kind: str, record_id: str) -> Record | None:
        query = "SELECT tenant, document, blob, expires_s FROM records WHERE kind = ? AND id = ?"
        rows = await self._rows(query, (kind, record_id))
        return Record(kind, record_id, *rows[0]) if rows else None

    async def find(self, kind: str, prefix: str = "", tenant: str | None = None) -> list[Record]:
        query = "SELECT id, tenant, document, expires_s FROM records WHERE kind = ? AND id >= ? AND id < ? ORDER BY id"
        rows = await self._rows(query, (kind, prefix, prefix + _LAST))
        return [
            Record(kind, record_id, owner, document, b"", expires_s)
            for record_id, owner, document, expires_s in rows
            if tenant in (None, owner)
        ]

    async def delete(self, kind: str, prefix: str) -> None:
        query = "DELETE FROM records WHERE kind = ? AND id >= ? AND id < ?"
        await self._run(lambda: self._database.execute(query, (kind, prefix, prefix + _LAST)))

    async def usage(self, kind: str, tenant: str) -> Usage:
        size = "COALESCE(SUM(LENGTH(document) + LENGTH(blob)), 0)"
        query = f"SELECT COUNT(*), {size} FROM records WHERE kind = ? AND tenant = ?"  # noqa: S608 - no input in it
        return Usage(*(await self._rows(query, (kind, tenant)))[0])

    async def purge(self, now_s: float) -> None:
        await self._run(lambda: self._database.execute("DELETE FROM records WHERE expires_s <= ?", (now_s,)))

    async def close(self) -> None:
        await self._run(self._database.close)
        self._thread.shutdown()

    async def _rows(self, query: str, values: tuple[str, ...]) -> list[tuple[Any, ...]]:
        return await self._run(lambda: self._database.execute(query, values).fetchall())

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
