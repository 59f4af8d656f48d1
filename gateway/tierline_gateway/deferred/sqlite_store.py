"""Records in an SQLite file: write-ahead log, synchronous FULL, so that what was put survives a crash and a power cut.

The processes of one pod may share the file; those of several pods may not, since the log needs their memory. Calls run
in one thread of their own, one after the other: a sync takes milliseconds that the event loop does not have, and a
caller that is cancelled must not leave its call beside the next one.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tierline_gateway.deferred.store import NEVER, Record, StoreUnavailable, Usage

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, id TEXT NOT NULL, tenant TEXT NOT NULL, document BLOB NOT NULL, expires_s REAL NOT NULL,
    due_s REAL NOT NULL, holder TEXT NOT NULL, bytes INTEGER NOT NULL, blob BLOB NOT NULL, UNIQUE (kind, id)
);
CREATE TABLE IF NOT EXISTS kept (
    tenant TEXT NOT NULL, kind TEXT NOT NULL, records INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS count_added AFTER INSERT ON records BEGIN
    INSERT INTO kept VALUES (new.tenant, new.kind, 1, new.bytes)
    ON CONFLICT (tenant, kind) DO UPDATE SET records = records + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER IF NOT EXISTS count_gone AFTER DELETE ON records BEGIN
    UPDATE kept SET records = records - 1, bytes = bytes - old.bytes WHERE tenant = old.tenant AND kind = old.kind;
END;
CREATE TRIGGER IF NOT EXISTS count_changed AFTER UPDATE OF bytes ON records BEGIN
    UPDATE kept SET bytes = bytes - old.bytes + new.bytes WHERE tenant = old.tenant AND kind = old.kind;
END;
CREATE INDEX IF NOT EXISTS by_tenant ON records (kind, tenant);
CREATE INDEX IF NOT EXISTS by_due ON records (kind, due_s);
CREATE INDEX IF NOT EXISTS by_expiry ON records (expires_s);
"""
_LAST = "\U0010ffff"
_GET = "SELECT kind, id, tenant, document, blob, expires_s, due_s FROM records WHERE kind = ? AND id = ?"
_FIND = """
SELECT kind, id, tenant, document, x'', expires_s, due_s FROM records
WHERE kind = ? AND id >= ? AND id < ? AND tenant = COALESCE(?, tenant) ORDER BY id
"""
_READ = """
SELECT kind, id, tenant, document, blob, expires_s, due_s FROM records
WHERE kind = ? AND id >= ? AND id > ? AND id < ? ORDER BY id LIMIT ?
"""
_USAGE = """
SELECT COALESCE(SUM(records), 0), COALESCE(SUM(bytes), 0) FROM kept
WHERE tenant = COALESCE(?, tenant) AND kind = COALESCE(?, kind)
"""
_TAKE = """
UPDATE records SET holder = :holder, due_s = :until_s WHERE rowid IN (
    SELECT rowid FROM records WHERE kind = :kind AND due_s <= :now_s ORDER BY due_s LIMIT :most
) RETURNING kind, id, tenant, document, x'', expires_s, due_s
"""
_REPLACE = """
UPDATE records SET document = ?, expires_s = ?, due_s = ?, bytes = bytes + ?
WHERE kind = ? AND id = ? AND document = ?
"""
_RENEW = "UPDATE records SET due_s = ? WHERE kind = ? AND id = ? AND holder = ? AND due_s < ?"

T = TypeVar("T")


class SQLiteStore:
    """A `RecordStore` in one file of `directory`, made if it is not there; raises `StoreUnavailable`. Triggers count
    what each tenant keeps, so that asking for it costs nothing."""

    def __init__(self, directory: Path) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="deferred-store")
        try:
            self._open(directory)
        except (OSError, sqlite3.Error) as error:
            message = f"answers cannot be kept in {directory}: {error}; it must be a directory that can be written to"
            raise StoreUnavailable(message) from error

    def _open(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = sqlite3.connect(
            directory / "answers.sqlite", isolation_level=None, check_same_thread=False, timeout=30
        )
        self._database.executescript("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        # So that triggers see what a replacing insert deletes.
        self._database.executescript("PRAGMA recursive_triggers=ON")
        self._database.executescript(_SCHEMA)

    async def put(self, record: Record, holder: str = "") -> None:
        await self._insert("REPLACE", record, holder)

    async def add(self, record: Record) -> bool:
        return await self._insert("IGNORE", record, "")

    async def replace(self, record: Record, before: bytes) -> bool:
        grown = len(record.document) - len(before)
        values = (record.document, record.expires_s, record.due_s, grown, record.kind, record.id, before)
        return await self._run(lambda: self._database.execute(_REPLACE, values).rowcount == 1)

    async def get(self, kind: str, record_id: str) -> Record | None:
        found = await self._records(_GET, (kind, record_id))
        return found[0] if found else None

    async def find(self, kind: str, prefix: str = "", tenant: str | None = None) -> list[Record]:
        return await self._records(_FIND, (kind, prefix, prefix + _LAST, tenant))

    async def read(self, kind: str, prefix: str, after: str, most: int) -> list[Record]:
        return await self._records(_READ, (kind, prefix, after, prefix + _LAST, most))

    async def delete(self, kind: str, prefix: str) -> None:
        await self._change("DELETE FROM records WHERE kind = ? AND id >= ? AND id < ?", (kind, prefix, prefix + _LAST))

    async def usage(self, tenant: str | None = None, kind: str | None = None) -> Usage:
        return Usage(*(await self._rows(_USAGE, (tenant, kind)))[0])

    async def take(self, kind: str, holder: str, now_s: float, until_s: float, most: int) -> list[Record]:
        values = {"kind": kind, "holder": holder, "now_s": now_s, "until_s": until_s, "most": most}
        taken = await self._records(_TAKE, values)
        return sorted(taken, key=lambda record: record.id)

    async def renew(self, kind: str, holder: str, ids: Collection[str], until_s: float) -> frozenset[str]:
        def each() -> frozenset[str]:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                rows = ((one, self._database.execute(_RENEW, (until_s, kind, one, holder, NEVER))) for one in ids)
                return frozenset(one for one, changed in rows if changed.rowcount)
            finally:
                self._database.execute("COMMIT")

        return await self._run(each) if ids else frozenset()

    async def purge(self, now_s: float) -> None:
        await self._change("DELETE FROM records WHERE expires_s <= ?", (now_s,))
        await self._rows("PRAGMA incremental_vacuum", ())

    async def close(self) -> None:
        await self._run(self._database.close)
        self._thread.shutdown()

    async def _insert(self, otherwise: str, record: Record, holder: str) -> bool:
        size = len(record.document) + len(record.blob)
        times = (record.expires_s, record.due_s, holder, size)
        row = (record.kind, record.id, record.tenant, record.document, *times, record.blob)
        change = f"INSERT OR {otherwise} INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - no input in it
        return await self._change(change, row) == 1

    async def _change(self, change: str, values: tuple[Any, ...]) -> int:
        return await self._run(lambda: self._database.execute(change, values).rowcount)

    async def _records(self, query: str, values: Any) -> list[Record]:
        return [Record(*row) for row in await self._rows(query, values)]

    async def _rows(self, query: str, values: Any) -> list[tuple[Any, ...]]:
        return await self._run(lambda: self._database.execute(query, values).fetchall())

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the store of answers: {error}") from error
