"""Files as they come in: a multipart form whose fields may have any order, stored piece by piece."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from aiohttp import BodyPartReader, web

from tierline_gateway.batches.files import FileGone, Files, FileWriter
from tierline_gateway.batches.storage_limits import MEBIBYTE
from tierline_gateway.batches.storage_room import check_files, check_room
from tierline_gateway.batches.stored_file import PURPOSE_INPUT, StoredFile, kept_seconds
from tierline_gateway.deferred.store import RecordStore
from tierline_gateway.front.api_errors import ApiError, invalid, too_many
from tierline_gateway.front.bodies import SLOW_BODY_S

AT_ONCE = 4
"""Uploads of one tenant at a time."""
LONGEST_S = 600.0
MAX_FIELD_BYTES = 1024
MAX_FIELDS = 16
MAX_NAME_CHARACTERS = 255
_READ_BYTES = 64 * 1024


class Uploads:
    """Receives files of tenants."""

    def __init__(self, store: RecordStore, files: Files) -> None:
        self._store = store
        self._files = files
        self._running: Counter[str] = Counter()

    async def receive(self, request: web.Request, tenant: str) -> StoredFile:
        """Return the file that `request` brings; raises `ApiError`, and then nothing is kept of it."""
        if not request.content_type.startswith("multipart/"):
            raise invalid("file", "Send the file as multipart/form-data with the fields purpose and file.")
        await check_files(self._store, self._files.limits, tenant)
        await check_room(self._store, self._files.limits, tenant)
        with self._place(tenant):
            try:
                async with asyncio.timeout(LONGEST_S):
                    return await _Form(self._store, self._files, tenant).read(request)
            except TimeoutError:
                message = f"The file did not come in time: send it within {LONGEST_S:g} s, without pauses."
                raise ApiError(408, message, "SlowBody", code="request_timeout") from None
            except (ValueError, FileGone) as error:
                raise invalid("file", f"The multipart form cannot be read: {error}; send it again.") from None

    @contextmanager
    def _place(self, tenant: str) -> Iterator[None]:
        if self._running[tenant] >= AT_ONCE:
            raise too_many(f"The tenant uploads {AT_ONCE} files already; send this one after them.", "Uploading", 5)
        self._running[tenant] += 1
        try:
            yield
        finally:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]


class _Form:
    """One upload."""

    def __init__(self, store: RecordStore, files: Files, tenant: str) -> None:
        self._store = store
        self._files = files
        self._tenant = tenant
        self._fields: dict[str, str] = {}
        self._writer: FileWriter | None = None

    async def read(self, request: web.Request) -> StoredFile:
        done = False
        try:
            await self._read_parts(request)
            file = await self._finished()
            done = True
        finally:
            if self._writer is not None and not done:
                await asyncio.shield(self._files.delete(self._writer.file.id))
        return file

    async def _read_parts(self, request: web.Request) -> None:
        form = await request.multipart()
        for _ in range(MAX_FIELDS):
            async with asyncio.timeout(SLOW_BODY_S):
                part = await form.next()
            if part is None:
                return
            if not isinstance(part, BodyPartReader):
                raise invalid("file", "The form has a form inside; send the file as a field of its own.")
            if part.name == "file" and self._writer is None:
                await self._read_file(part)
            else:
                self._fields[part.name or ""] = await _read_field(part)
        raise invalid(None, f"The form has more than {MAX_FIELDS} fields; send purpose, file and expires_after.")

    async def _read_file(self, part: BodyPartReader) -> None:
        name = (part.filename or "file")[:MAX_NAME_CHARACTERS]
        self._writer = writer = await self._files.begin(self._tenant, name, PURPOSE_INPUT)
        limit = self._files.limits.file_bytes
        async for content in _pieces(part):
            if await writer.write(content):
                await check_room(self._store, self._files.limits, self._tenant)
            if writer.written_bytes > limit:
                message = f"The file is over {limit // MEBIBYTE} MiB; split it into several batches."
                raise ApiError(413, message, "FileTooLarge", param="file", code="file_too_large")

    async def _finished(self) -> StoredFile:
        purpose = self._fields.get("purpose")
        if purpose != PURPOSE_INPUT:
            told = f"is {purpose!r}" if purpose else "is missing"
            raise invalid("purpose", f"'purpose' {told}; files are for batches here: set it to batch.")
        if self._writer is None:
            raise invalid("file", "'file' is missing; add it to the form.")
        if not self._writer.written_bytes:
            raise invalid("file", "'file' is empty; add a line for each request.")
        return await self._writer.finish(self._kept_seconds())

    def _kept_seconds(self) -> float:
        name = "expires_after"
        asked: dict[str, str | int] = {
            key: self._fields[f"{name}[{key}]"] for key in ("anchor", "seconds") if f"{name}[{key}]" in self._fields
        }
        try:
            return kept_seconds(name, asked)
        except ValueError as error:
            raise invalid(name, str(error)) from None


async def _pieces(part: BodyPartReader) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(SLOW_BODY_S):
            content = await part.read_chunk(_READ_BYTES)
        if not content:
            return
        yield content


async def _read_field(part: BodyPartReader) -> str:
    value = b""
    async for content in _pieces(part):
        value += content
        if len(value) > MAX_FIELD_BYTES:
            raise invalid(part.name, f"'{part.name}' is over {MAX_FIELD_BYTES} bytes; shorten it.")
    return value.decode(errors="replace")
