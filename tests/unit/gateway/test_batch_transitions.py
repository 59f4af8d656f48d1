"""What may happen to a batch: the table of events, and that nothing else can."""

import pytest
from batch_samples import new_batch

from tierline_gateway.batches.batch import ENDS, Batch, BatchStatus, Counts, FilePair, LineProblem, Unanswered
from tierline_gateway.batches.transitions import (
    Accepted,
    CancelAsked,
    Counted,
    FilesWritten,
    IllegalEvent,
    LinesDone,
    Refused,
    WritingFiles,
    after,
)

PAIR = FilePair("file-o", "file-e")
WRITTEN = FilesWritten(PAIR, FilePair("file-o", ""), 2, 0)
EVENTS = (
    Accepted(2, "m"),
    Refused((LineProblem("empty_file", "no lines"),)),
    Counted(1, 0),
    CancelAsked(),
    LinesDone(),
    WritingFiles(PAIR),
    WRITTEN,
)


def lived(*events) -> Batch:
    batch = new_batch()
    for at, event in enumerate(events):
        batch = after(batch, event, 101.0 + at)
    return batch


def test_the_way_of_a_batch_that_is_answered() -> None:
    done = lived(Accepted(2, "m"), Counted(1, 0), Counted(2, 0), LinesDone(), WritingFiles(PAIR), WRITTEN)
    assert (done.status, done.counts) == (BatchStatus.COMPLETED, Counts(2, 2, 0))
    assert done.reached_s == {"in_progress": 101.0, "finalizing": 104.0, "completed": 106.0}
    shown = done.shown()
    assert (shown["output_file_id"], shown["error_file_id"], shown["errors"]) == ("file-o", None, None)
    assert (shown["in_progress_at"], shown["completed_at"], shown["expired_at"]) == (101, 106, None)


def test_the_windows_end_expires_after_the_files_are_written() -> None:
    done = lived(Accepted(2, None), LinesDone(Unanswered.EXPIRED), WritingFiles(PAIR), WRITTEN)
    assert done.status is BatchStatus.EXPIRED
    assert done.shown()["expired_at"] == 104


def test_a_full_store_completes_with_the_rest_in_the_error_file() -> None:
    done = lived(Accepted(2, None), LinesDone(Unanswered.STORAGE), WritingFiles(PAIR), WRITTEN)
    assert (done.status, done.unanswered) == (BatchStatus.COMPLETED, Unanswered.STORAGE)


@pytest.mark.parametrize("before", [(), (Accepted(2, "m"),), (Accepted(2, "m"), CancelAsked())])
def test_a_batch_can_be_cancelled_until_its_files_are_written(before) -> None:
    done = lived(*before, CancelAsked(), WritingFiles(PAIR), WRITTEN)
    assert (done.status, done.unanswered) == (BatchStatus.CANCELLED, Unanswered.CANCELLED)


def test_an_unsound_file_fails_with_what_is_wrong() -> None:
    failed = lived(Refused((LineProblem("invalid_json_line", "no JSON", None, 3),)))
    assert failed.status is BatchStatus.FAILED
    assert failed.shown()["errors"]["data"][0].line == 3


def test_files_of_an_older_attempt_do_not_count() -> None:
    again = lived(Accepted(2, "m"), LinesDone(), WritingFiles(PAIR), WritingFiles(FilePair("file-p", "file-q")))
    with pytest.raises(IllegalEvent):
        after(again, WRITTEN, 110.0)


@pytest.mark.parametrize("end", sorted(ENDS))
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_nothing_happens_after_an_end(end, event) -> None:
    with pytest.raises(IllegalEvent, match=str(end)):
        after(new_batch(status=end, writing=PAIR), event, 110.0)


@pytest.mark.parametrize(
    ("status", "legal"),
    [
        (BatchStatus.VALIDATING, {"Accepted", "Refused", "CancelAsked"}),
        (BatchStatus.IN_PROGRESS, {"Counted", "CancelAsked", "LinesDone"}),
        (BatchStatus.FINALIZING, {"WritingFiles", "FilesWritten"}),
        (BatchStatus.CANCELLING, {"Counted", "CancelAsked", "WritingFiles", "FilesWritten"}),
    ],
)
def test_only_these_events_fit(status, legal) -> None:
    fitting = set()
    for event in EVENTS:
        try:
            after(new_batch(status=status, writing=PAIR), event, 110.0)
        except IllegalEvent:
            continue
        fitting.add(type(event).__name__)
    assert fitting == legal


def test_only_work_that_is_not_over_is_due() -> None:
    assert new_batch().record(5.0).due_s == 5.0
    assert new_batch(status=BatchStatus.COMPLETED).record(5.0).due_s == float("inf")
