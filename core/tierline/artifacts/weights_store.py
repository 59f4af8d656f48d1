"""The models that this machine has fetched, shared by all workers on it: fetched once, whole, within a bound.

Each entry has a folder with its files, and below `index` a record (`cache_record`) and two locks. Whoever fetches or
evicts an entry holds the first one, for as long as that takes. Whoever uses it holds the second one together with other
users, until its process ends: only what nobody holds is evicted. Nothing here needs a daemon, and a worker that is
killed at any point leaves nothing that another one has to wait for.
"""

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from tierline.artifacts.cache_record import CacheRecord, checked, read_record, recorded, write_record
from tierline.artifacts.eviction import CacheEntry, to_evict
from tierline.artifacts.locking import file_lock, hold, try_hold

log = logging.getLogger(__name__)

Fetch = Callable[[Path], Path]
"""Puts an entry's files into a folder, or makes sure that they are those of the source; returns what to open."""

Find = Callable[[Path], Path | None]
"""Returns what to open in a folder that is whole; None for a source that may have changed and has to be asked."""

_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Fetching:
    """An entry to open: the source as it was written, its folder below the cache, how it is found and fetched."""

    source: str
    home: str
    find: Find
    fetch: Fetch


@dataclass(frozen=True, slots=True)
class OpenedWeights:
    """A model's files. `warm` says that they were here before; they stay while this is held."""

    path: Path
    warm: bool = True
    held: TextIOWrapper | None = None

    def close(self) -> None:
        if self.held is not None:
            self.held.close()


@dataclass(frozen=True, slots=True)
class WeightsStore:
    """All entries below `root`, which together take `limit_bytes` at most (0: no limit) unless they are in use."""

    root: Path
    limit_bytes: int = 0

    def open(self, wanted: Fetching) -> OpenedWeights:
        """Return the entry's files, fetching them when they are not here, and keep them from being evicted.

        Blocks (network, disk, another worker that is fetching the same). Raises what the fetch raises, and `OSError`.
        """
        entry = _Entry(self.root, _entry_name(wanted.home))
        with file_lock(entry.lock):
            former = entry.whole(wanted.home)
            home = self.root / wanted.home
            path = (wanted.find(home) if former else None) or wanted.fetch(home)
            files = recorded(home, former.files if former else ())
            warm = former is not None and files == former.files
            now = CacheRecord(wanted.home, former.sources if former else (), files).spelled(wanted.source)
            if now != former:
                write_record(entry.record, now)
            held = hold(entry.users, shared=True)
            os.utime(entry.users)
        self.evict()
        return OpenedWeights(path, warm, held)

    def cached(self) -> dict[str, int]:
        """Return the bytes of every whole entry, by source as it was written."""
        records = [record for it in self._entries() if (record := read_record(it.record)) and record.files]
        return {source: record.bytes for record in records for source in record.sources}

    def evict(self) -> None:
        """Give up what nobody uses until the rest fits."""
        if not self.limit_bytes:
            return
        entries = {it.name: it for it in self._entries()}
        for victim in to_evict((it.sized() for it in entries.values()), self.limit_bytes):
            if entries[victim.name].remove():
                log.info("evicted %s (%.1f MB) from %s", victim.name, victim.bytes / 1e6, self.root)

    def _entries(self) -> Iterator["_Entry"]:
        for path in sorted((self.root / "index").glob("*.lock")):
            yield _Entry(self.root, path.name.removesuffix(".lock"))


@dataclass(frozen=True, slots=True)
class _Entry:
    root: Path
    name: str

    @property
    def record(self) -> Path:
        return self.root / "index" / f"{self.name}.json"

    @property
    def lock(self) -> Path:
        return self.root / "index" / f"{self.name}.lock"

    @property
    def users(self) -> Path:
        return self.root / "index" / f"{self.name}.users"

    def whole(self, home: str) -> CacheRecord | None:
        """Return the record of a whole entry; what is damaged is removed, what has no record is noted as unfinished."""
        record = read_record(self.record)
        if record is not None and record.home == home and record.files:
            files = checked(self.root / home, record.files)
            if files is not None:
                whole = CacheRecord(home, record.sources, files)
                if whole != record:
                    write_record(self.record, whole)
                return whole
            log.warning("%s is damaged and is fetched again", self.root / home)
            shutil.rmtree(self.root / home)
        write_record(self.record, CacheRecord(home, ()))
        return None

    def sized(self) -> CacheEntry:
        record = read_record(self.record)
        size = (record.bytes or _bytes_below(self.root / record.home)) if record is not None else 0
        if not self.users.exists():
            return CacheEntry(self.name, size, 0)
        opened_ns, user = self.users.stat().st_mtime_ns, try_hold(self.users)
        if user is not None:
            user.close()
        return CacheEntry(self.name, size, opened_ns, in_use=user is None)

    def remove(self) -> bool:
        """Remove the entry unless somebody fetches or uses it; says whether it is gone."""
        with contextlib.ExitStack() as locks:
            for path in (self.lock, self.users):
                held = try_hold(path)
                if held is None:
                    return False
                locks.enter_context(held)
            record = read_record(self.record)
            # The record first: without it nobody takes what is left for whole.
            self.record.unlink(missing_ok=True)
            if record is not None:
                shutil.rmtree(self.root / record.home, ignore_errors=True)
            self.users.unlink(missing_ok=True)
            self.lock.unlink(missing_ok=True)
        return True


def _entry_name(home: str) -> str:
    flat = home.replace("/", "--")
    if len(flat) <= _LONGEST_NAME:
        return flat
    digest = hashlib.blake2b(home.encode(), digest_size=8).hexdigest()
    return f"{flat[:_LONGEST_NAME]}-{digest}"


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
