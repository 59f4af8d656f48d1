"""Where promises to answer later are kept: records that survive the process.

A record is durable when `put` returns. Records are small documents with an optional blob; `usage` lets callers bound
what a tenant keeps.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """One document of a kind; `blob` may be large and is only read with `get`. `expires_s` is epoch seconds."""

    kind: str
    id: str
    tenant: str
    document: bytes
    blob: bytes = b""
    expires_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tenant keeps of one kind."""

    records: int
    bytes: int


class RecordStore(Protocol):
    """A durable store; all calls may be made concurrently."""

    async def put(self, record: Record) -> None:
        """Insert or replace; durable on return."""
        ...

    async def update(self, kind: str, record_id: str, document: bytes, expires_s: float) -> None:
        """Replace the document of a record and keep its blob; does nothing when it is gone."""
        ...

    async def get(self, kind: str, record_id: str) -> Record | None: ...

    async def find(self, kind: str, prefix: str = "", tenant: str | None = None) -> list[Record]:
        """Return records without blobs, by id, whose id starts with `prefix`."""
        ...

    async def delete(self, kind: str, prefix: str) -> None:
        """Delete the records whose id starts with `prefix`."""
        ...

    async def usage(self, kind: str, tenant: str) -> Usage: ...

    async def purge(self, now_s: float) -> None:
        """Delete what expired."""
        ...

    async def close(self) -> None: ...
