"""What may happen to a batch, and what becomes of it: a pure function of the batch, an event and a time.

    validating --Accepted--> in_progress --LinesDone--> finalizing --FilesWritten--> completed, or expired
        |                        |
        +--Refused--> failed     +--CancelAsked--> cancelling --FilesWritten--> cancelled      (validating: as well)

Whoever holds a batch brings it from one status to the next; several may believe that they do. So an event that does not
fit is an error for whoever brings it, never a change, and files count only when they are those that were begun last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from tierline_gateway.batches.batch import Batch, BatchStatus, Counts, FilePair, LineProblem, Unanswered


class IllegalEvent(Exception):
    """The batch is not in a status in which this can happen to it."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The input file is sound; `model` is None where its lines name several."""

    total: int
    model: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The input file is not sound."""

    problems: tuple[LineProblem, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """So many lines have stored ends."""

    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Its owner wants no more answers."""


@dataclass(frozen=True, slots=True)
class LinesDone:
    """No line will be answered any more; `unanswered` says why some were not."""

    unanswered: Unanswered = Unanswered.NOTHING


@dataclass(frozen=True, slots=True)
class WritingFiles:
    """Somebody begins to write these files, instead of any that were begun before."""

    files: FilePair


@dataclass(frozen=True, slots=True)
class FilesWritten:
    """These files are complete and stored; an empty name stands for a file without lines."""

    begun: FilePair
    files: FilePair
    completed: int
    failed: int


Event = Accepted | Refused | Counted | CancelAsked | LinesDone | WritingFiles | FilesWritten

_S = BatchStatus
_NEXT: Mapping[type[Event], Mapping[BatchStatus, BatchStatus]] = MappingProxyType(
    {
        Accepted: {_S.VALIDATING: _S.IN_PROGRESS},
        Refused: {_S.VALIDATING: _S.FAILED},
        Counted: {_S.IN_PROGRESS: _S.IN_PROGRESS, _S.CANCELLING: _S.CANCELLING},
        CancelAsked: {_S.VALIDATING: _S.CANCELLING, _S.IN_PROGRESS: _S.CANCELLING, _S.CANCELLING: _S.CANCELLING},
        LinesDone: {_S.IN_PROGRESS: _S.FINALIZING},
        WritingFiles: {_S.FINALIZING: _S.FINALIZING, _S.CANCELLING: _S.CANCELLING},
        FilesWritten: {_S.FINALIZING: _S.COMPLETED, _S.CANCELLING: _S.CANCELLED},
    }
)


def after(batch: Batch, event: Event, now_s: float) -> Batch:
    """Return the batch after `event`; raises `IllegalEvent`."""
    status = _NEXT[type(event)].get(batch.status)
    if status is None or (isinstance(event, FilesWritten) and event.begun != batch.writing):
        raise IllegalEvent(f"{type(event).__name__} cannot happen to a batch that is {batch.status}")
    changed = msgspec.structs.replace(batch, **_changes(batch, event))
    if status is _S.COMPLETED and changed.unanswered is Unanswered.EXPIRED:
        status = _S.EXPIRED
    if status is changed.status:
        return changed
    return msgspec.structs.replace(changed, status=status, reached_s={**batch.reached_s, status: now_s})


def _changes(batch: Batch, event: Event) -> dict[str, object]:
    """Return the fields that `event` sets, besides the status."""
    changes: dict[str, object] = {}
    match event:
        case Accepted(total, model):
            changes = {"counts": Counts(total), "model": model}
        case Refused(problems):
            changes = {"problems": problems}
        case Counted(completed, failed):
            changes = {"counts": _counts(batch, completed, failed)}
        case CancelAsked():
            changes = {"unanswered": Unanswered.CANCELLED}
        case LinesDone(unanswered):
            changes = {"unanswered": unanswered}
        case WritingFiles(files):
            changes = {"writing": files}
        case FilesWritten(_, files, completed, failed):
            changes = {"writing": FilePair(), "files": files, "counts": _counts(batch, completed, failed)}
    return changes


def _counts(batch: Batch, completed: int, failed: int) -> Counts:
    return Counts(batch.counts.total, completed, failed)
