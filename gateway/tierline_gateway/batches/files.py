"""Files of tenants, kept in pieces in the store of records, so that none is ever in memory as a whole."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

import msgspec

from tierline_gateway.batches.input_lines import LineCutter
from tierline_gateway.batches.storage_limits import StorageLimits
from tierline_gateway.batches.stored_file import (
    BEGUN_KEPT_S,
    CHUNK,
    CHUNK_BYTES,
    KIND,
    OLDEST_S,
    StoredFile,
    file_of,
)
from tierline_gateway.deferred.store import RecordStore

_LINES_AT_ONCE = 256


class Files:
    """All files of one store. A file is begun, written by one `FileWriter`, and shown once that finished."""

    def __init__(self, store: RecordStore, limits: StorageLimits) -> None:
        self._store = store
        self.limits = limits

    async def begin(self, tenant: str, filename: str, purpose: str) -> "FileWriter":
        """Return the writer of a new file; what is not finished within `BEGUN_KEPT_S` is swept."""
        now_s = time.time()
        file = StoredFile(
            id=f"file-{secrets.token_hex(12)}",
            tenant=tenant,
            filename=filename,
            purpose=purpose,
            created_s=now_s,
            expires_s=now_s + BEGUN_KEPT_S,
        )
        await self._store.put(file.record())
        return FileWriter(self._store, file)

    async def find(self, tenant: str, file_id: str) -> StoredFile | None:
        """Return a file of this tenant; those of others are not there for it, nor what is expired."""
        record = await self._store.get(KIND, file_id)
        file = file_of(record) if record is not None and record.tenant == tenant else None
        return file if file is not None and file.complete and file.expires_s > time.time() else None

    async def owned(self, tenant: str) -> list[StoredFile]:
        """Return a tenant's files, the newest first."""
        now_s = time.time()
        files = map(file_of, await self._store.find(KIND, tenant=tenant))
        shown = (file for file in files if file.complete and file.expires_s > now_s)
        return sorted(shown, key=lambda file: (file.created_s, file.id), reverse=True)

    async def chunks(self, file: StoredFile) -> AsyncIterator[bytes]:
        """Yield a file's content."""
        prefix, last = f"{file.id}/", ""
        while found := await self._store.read(CHUNK, prefix, last, 1):
            last = found[0].id
            yield found[0].blob

    async def lines(self, file: StoredFile | None) -> AsyncIterator[tuple[int, bytes]]:
        """Yield a file's lines with their numbers, empty ones left out; raises `LineTooLong`. None has no lines."""
        cutter = LineCutter()
        if file is not None:
            async for chunk in self.chunks(file):
                for number, line in cutter.cut(chunk):
                    yield number, line
                    if number % _LINES_AT_ONCE == 0:
                        await asyncio.sleep(0)
        for last in cutter.end():
            yield last

    async def keep_until(self, file: StoredFile, until_s: float) -> bool:
        """Keep a file at least so long; returns False when it is gone, or would be older than any may be."""
        if file.expires_s >= until_s:
            return True
        if until_s > file.created_s + OLDEST_S:
            return False
        kept = msgspec.structs.replace(file, expires_s=until_s)
        return await self._store.replace(kept.record(), file.record().document)

    async def delete(self, file_id: str) -> None:
        """Delete a file, complete or not; its description goes last, so that a sweep finds what is left."""
        await self._store.delete(CHUNK, f"{file_id}/")
        await self._store.delete(KIND, file_id)

    async def sweep(self, now_s: float) -> None:
        """Delete what expired, what was begun and never finished, and pieces of files that are gone."""
        pieces = {record.id.partition("/")[0] for record in await self._store.find(CHUNK)}
        files = {record.id: record for record in await self._store.find(KIND)}
        expired = {file_id for file_id, record in files.items() if record.expires_s <= now_s}
        for file_id in expired | (pieces - files.keys()):
            await self.delete(file_id)


class FileWriter:
    """Writes one file from its beginning to its end."""

    def __init__(self, store: RecordStore, file: StoredFile) -> None:
        self._store = store
        self._pending = bytearray()
        self._chunks = 0
        self._bytes = 0
        self.file = file

    @property
    def written_bytes(self) -> int:
        return self._bytes + len(self._pending)

    async def write(self, content: bytes) -> bool:
        """Add content; returns whether some of it was stored now."""
        self._pending += content
        stored = False
        while len(self._pending) >= CHUNK_BYTES:
            await self._store_chunk()
            stored = True
        return stored

    async def finish(self, kept_seconds: float) -> StoredFile:
        """Store the rest and show the file from now on; raises `FileGone` when it was swept meanwhile."""
        if self._pending:
            await self._store_chunk()
        before = self.file.record().document
        until_s = time.time() + kept_seconds
        self.file = msgspec.structs.replace(self.file, size_bytes=self._bytes, complete=True, expires_s=until_s)
        if not await self._store.replace(self.file.record(), before):
            raise FileGone(self.file.id)
        return self.file

    async def _store_chunk(self) -> None:
        content = bytes(self._pending[:CHUNK_BYTES])
        del self._pending[:CHUNK_BYTES]
        await self._store.put(self.file.chunk(self._chunks, content))
        self._chunks += 1
        self._bytes += len(content)


class FileGone(Exception):
    """Somebody deleted a file that was being written."""
