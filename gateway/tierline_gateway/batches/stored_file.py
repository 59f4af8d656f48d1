"""A file of a tenant: its description is one record, its content others, a chunk each."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tierline_gateway.deferred.store import Record

KIND = "file"
CHUNK = "file_chunk"
CHUNK_BYTES = 256 * 1024
"""What is read, cut into lines and written at once; the event loop has other things to do."""
KEPT_S = 30 * 24 * 3600.0
OLDEST_S = 60 * 24 * 3600.0
"""A file that batches use again and again is not kept for longer than that."""
BEGUN_KEPT_S = 3600.0
"""A file that was not finished by then is swept."""
PURPOSE_INPUT = "batch"
PURPOSE_OUTPUT = "batch_output"
SHORTEST_KEPT_S, LONGEST_KEPT_S = 3600, 30 * 24 * 3600


class StoredFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file; times are epoch seconds. Nobody is shown a file that is not `complete`."""

    id: str
    tenant: str
    filename: str
    purpose: str
    created_s: float
    expires_s: float
    size_bytes: int = 0
    complete: bool = False

    def record(self) -> Record:
        return Record(KIND, self.id, self.tenant, msgspec.json.encode(self), expires_s=self.expires_s)

    def chunk(self, number: int, content: bytes) -> Record:
        """Return one piece; it goes when the file does."""
        return Record(CHUNK, f"{self.id}/{number:06d}", self.tenant, b"", content)

    def shown(self) -> dict[str, Any]:
        """Return OpenAI's object."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size_bytes,
            "created_at": int(self.created_s),
            "expires_at": int(self.expires_s),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


def file_of(record: Record) -> StoredFile:
    return msgspec.json.decode(record.document, type=StoredFile)


def kept_seconds(field: str, asked: Mapping[str, str | int] | None) -> float:
    """Return how long a file is kept by `asked`, an object as OpenAI's `expires_after`; raises `ValueError`."""
    if not asked:
        return KEPT_S
    if asked.get("anchor") != "created_at":
        raise ValueError(f"'{field}.anchor' must be created_at.")
    seconds = str(asked.get("seconds", ""))
    if not seconds.isdecimal() or not SHORTEST_KEPT_S <= int(seconds) <= LONGEST_KEPT_S:
        raise ValueError(f"'{field}.seconds' must be {SHORTEST_KEPT_S} to {LONGEST_KEPT_S}.")
    return float(seconds)
