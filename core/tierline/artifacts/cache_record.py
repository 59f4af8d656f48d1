"""What is known of one fetched model: its files with sizes and digests. Only what has a record is whole.

A file of the recorded size and time is trusted as it is, one with another time is read again and compared, anything
else is damaged. The record is written under another name, flushed and renamed, after its files were flushed: a crash at
any point leaves either a whole entry or one without a record, which is fetched again.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

_CHUNK_BYTES = 1 << 22
MOST_SPELLINGS = 8


class FileRecord(msgspec.Struct, frozen=True):
    """One file below the entry's folder; the digest is blake2b."""

    name: str
    bytes: int
    mtime_ns: int
    digest: str


class CacheRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry: its folder below the cache, the sources as users wrote them, its files (none: not whole yet)."""

    home: str
    sources: tuple[str, ...]
    files: tuple[FileRecord, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(it.bytes for it in self.files)

    def spelled(self, source: str) -> "CacheRecord":
        """Return the record with one more way in which users write the source; the oldest goes."""
        if source in self.sources:
            return self
        return msgspec.structs.replace(self, sources=(*self.sources, source)[-MOST_SPELLINGS:])


def read_record(path: Path) -> CacheRecord | None:
    """Return the record at `path`; None where there is none that can be understood."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=CacheRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write_record(path: Path, record: CacheRecord) -> None:
    """Put the record in its place as a whole; what it says is on disk when this returns."""
    scratch = path.with_suffix(".writing")
    with scratch.open("wb") as handle:
        handle.write(msgspec.json.encode(record))
        handle.flush()
        os.fsync(handle.fileno())
    scratch.replace(path)
    _flush_folder(path.parent)


def recorded(folder: Path, before: Iterable[FileRecord] = ()) -> tuple[FileRecord, ...]:
    """Return what is in `folder`, flushed to disk; files that are as they were `before` are not read again."""
    known = {it.name: it for it in before}
    return tuple(
        former if former is not None and _looks_alike(path, former) else _record_of(path, name)
        for name, path in _files(folder)
        for former in (known.get(name),)
    )


def checked(folder: Path, files: tuple[FileRecord, ...]) -> tuple[FileRecord, ...] | None:
    """Return the files as they are now; None when one is missing or is not what was recorded."""
    found: list[FileRecord] = []
    for former in files:
        path = folder / former.name
        try:
            now = former if _looks_alike(path, former) else _record_of(path, former.name)
        except FileNotFoundError:
            return None
        if (now.bytes, now.digest) != (former.bytes, former.digest):
            return None
        found.append(now)
    return tuple(found)


def _files(folder: Path) -> Iterable[tuple[str, Path]]:
    """Yield the entry's files; folders and files whose names begin with a dot are a fetcher's own notes."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield str(name), path


def _looks_alike(path: Path, former: FileRecord) -> bool:
    status = path.stat()
    return (status.st_size, status.st_mtime_ns) == (former.bytes, former.mtime_ns)


def _record_of(path: Path, name: str) -> FileRecord:
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
        status = os.fstat(handle.fileno())
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)
    return FileRecord(name, status.st_size, status.st_mtime_ns, digest.hexdigest())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
