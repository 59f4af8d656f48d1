"""Where promises to answer later are kept: records that survive the process, and work that several processes share.

A record is durable when a write returns. Work is a record with a finite `due_s`: any process may take it then and is
its holder until a new `due_s`; one that dies does not renew, so another takes over. A holder that slept too long may
write beside its successor: `add` and `replace` decide who was first, so that nothing is said twice.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

NEVER = float("inf")


class StoreUnavailable(Exception):
    """The store does not answer; what was asked of it may or may not have happened."""


@dataclass(frozen=True, slots=True)
class Record:
    """One document of a kind; `blob` may be large and is only read with `get` and `read`. Times are epoch seconds.

    With a finite `due_s` there is work to do, for whoever takes it from then on.
    """

    kind: str
    id: str
    tenant: str
    document: bytes
    blob: bytes = b""
    expires_s: float = NEVER
    due_s: float = NEVER


@dataclass(frozen=True, slots=True)
class Usage:
    """What is kept: documents and blobs, in bytes."""

    records: int
    bytes: int


class RecordStore(Protocol):
    """A durable store; all calls may be made concurrently, by several processes. They raise `StoreUnavailable`."""

    async def put(self, record: Record, holder: str = "") -> None:
        """Insert or replace; work is `holder`'s until its `due_s`."""
        ...

    async def add(self, record: Record) -> bool:
        """Insert; returns False, and changes nothing, when the record is there already."""
        ...

    async def replace(self, record: Record, before: bytes) -> bool:
        """Replace document and times of a record whose document is `before`, keeping blob and holder; False if not."""
        ...

    async def get(self, kind: str, record_id: str) -> Record | None: ...

    async def find(self, kind: str, prefix: str = "", tenant: str | None = None) -> list[Record]:
        """Return records without blobs, by id, whose id starts with `prefix`."""
        ...

    async def read(self, kind: str, prefix: str, after: str, most: int) -> list[Record]:
        """Return the next records with blobs, by id, whose id starts with `prefix` and is greater than `after`."""
        ...

    async def delete(self, kind: str, prefix: str) -> None:
        """Delete the records whose id starts with `prefix`."""
        ...

    async def usage(self, tenant: str | None = None, kind: str | None = None) -> Usage:
        """Return what a tenant, or all of them, keep of a kind, or of all."""
        ...

    async def take(self, kind: str, holder: str, now_s: float, until_s: float, most: int) -> list[Record]:
        """Make `holder` the holder of work that is due, until `until_s`; returns it without blobs, by id."""
        ...

    async def renew(self, kind: str, holder: str, ids: Collection[str], until_s: float) -> frozenset[str]:
        """Hold work until `until_s`, or end holding it with a time that has passed; returns what `holder` held."""
        ...

    async def purge(self, now_s: float) -> None:
        """Delete what expired."""
        ...

    async def close(self) -> None: ...
