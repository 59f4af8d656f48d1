"""A batch as it is stored, and as its owner is told of it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from tierline_gateway.deferred.store import NEVER, Record

KIND = "batch"
KEPT_S = 30 * 24 * 3600.0
"""So long after its window a batch can be looked at."""


class BatchStatus(StrEnum):
    """OpenAI's words; the last four are ends."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


ENDS = frozenset({BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.EXPIRED, BatchStatus.CANCELLED})


class Unanswered(StrEnum):
    """Why a line that was not answered is in the error file; the code that it has there."""

    NOTHING = ""
    EXPIRED = "batch_expired"
    CANCELLED = "batch_cancelled"
    STORAGE = "storage_exhausted"


class LineProblem(msgspec.Struct, frozen=True):
    """What is wrong with an input file; `line` counts from 1."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class Counts(msgspec.Struct, frozen=True):
    """Lines that a batch has, that were answered, and that ended without an answer."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class FilePair(msgspec.Struct, frozen=True):
    """The files with answers and with errors; empty where there are none."""

    output: str = ""
    error: str = ""


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One batch; times are epoch seconds, `reached_s` says when each status was. `expires_s` is the window's end.

    `writing` are the files that are being written at present, `files` those that are done. `kept_seconds` is how long
    the latter are kept.
    """

    id: str
    tenant: str
    endpoint: str
    input_file_id: str
    tier: str
    window: str
    created_s: float
    expires_s: float
    kept_seconds: float
    metadata: Mapping[str, str] | None = None
    model: str | None = None
    status: BatchStatus = BatchStatus.VALIDATING
    counts: Counts = Counts()
    problems: tuple[LineProblem, ...] = ()
    unanswered: Unanswered = Unanswered.NOTHING
    writing: FilePair = FilePair()
    files: FilePair = FilePair()
    reached_s: Mapping[str, float] = msgspec.field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.status in ENDS

    def record(self, due_s: float = NEVER) -> Record:
        """Return what is stored; `due_s` counts as long as the batch is not over."""
        due_s = NEVER if self.over else due_s
        return Record(KIND, self.id, self.tenant, msgspec.json.encode(self), b"", self.expires_s + KEPT_S, due_s)

    def shown(self) -> dict[str, Any]:
        """Return OpenAI's object; `tier` is ours."""
        problems = {"object": "list", "data": self.problems} if self.problems else None
        stamps = (*(status for status in BatchStatus if status is not BatchStatus.VALIDATING),)
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": problems,
            "input_file_id": self.input_file_id,
            "completion_window": self.window,
            "status": str(self.status),
            "output_file_id": self.files.output or None,
            "error_file_id": self.files.error or None,
            "created_at": int(self.created_s),
            "expires_at": int(self.expires_s),
            **{f"{status}_at": self._reached(status) for status in stamps},
            "request_counts": self.counts,
            "metadata": self.metadata,
            "tier": self.tier,
        }

    def _reached(self, status: BatchStatus) -> int | None:
        reached_s = self.reached_s.get(status)
        return None if reached_s is None else int(reached_s)


def batch_of(record: Record) -> Batch:
    return msgspec.json.decode(record.document, type=Batch)
