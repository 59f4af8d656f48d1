from datetime import UTC, datetime, timedelta, timezone

from tierline.api.conditions import Finding, merge_conditions
from tierline.api.meta import MESSAGE_LIMIT

MORNING = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
NOON = MORNING + timedelta(hours=4)
READY = Finding("Ready", "True", "AllServing", "All workers serve.")
NOT_READY = Finding("Ready", "False", "Starting", "Waiting for a worker.")
ACCEPTED = Finding("Accepted", "True", "Valid", "The spec is valid.")


def test_a_new_condition_starts_now():
    (condition,) = merge_conditions((), [READY], generation=1, now=MORNING)
    assert condition.last_transition_time == "2026-11-21T08:00:00Z"
    assert condition.observed_generation == 1


def test_the_time_of_a_kept_status_stays_though_reason_and_generation_change():
    current = merge_conditions((), [NOT_READY], generation=1, now=MORNING)
    other = Finding("Ready", "False", "NoCapacity", "No node fits.")
    (condition,) = merge_conditions(current, [other], generation=2, now=NOON)
    assert condition.last_transition_time == "2026-11-21T08:00:00Z"
    assert (condition.reason, condition.observed_generation) == ("NoCapacity", 2)


def test_the_time_moves_when_the_status_flips():
    current = merge_conditions((), [NOT_READY], generation=1, now=MORNING)
    (condition,) = merge_conditions(current, [READY], generation=1, now=NOON)
    assert condition.last_transition_time == "2026-11-21T12:00:00Z"


def test_nothing_new_gives_the_same_conditions():
    current = merge_conditions((), [READY, ACCEPTED], generation=1, now=MORNING)
    assert merge_conditions(current, [ACCEPTED, READY], generation=1, now=NOON) == current


def test_conditions_of_others_are_kept_and_new_ones_come_last():
    current = merge_conditions((), [ACCEPTED], generation=1, now=MORNING)
    merged = merge_conditions(current, [READY], generation=2, now=NOON)
    assert [condition.type for condition in merged] == ["Accepted", "Ready"]
    assert merged[0] == current[0]


def test_times_are_written_in_utc():
    tokyo = datetime(2026, 11, 21, 17, 0, tzinfo=timezone(timedelta(hours=9)))
    (condition,) = merge_conditions((), [READY], generation=1, now=tokyo)
    assert condition.last_transition_time == "2026-11-21T08:00:00Z"


def test_a_message_never_exceeds_what_the_schema_allows():
    long = Finding("Ready", "False", "Broken", "x" * (MESSAGE_LIMIT + 1))
    (condition,) = merge_conditions((), [long], generation=1, now=MORNING)
    assert len(condition.message) == MESSAGE_LIMIT


def test_conditions_are_written_in_the_form_of_the_resource():
    (condition,) = merge_conditions((), [READY], generation=3, now=MORNING)
    assert condition.model_dump() == {
        "type": "Ready",
        "status": "True",
        "reason": "AllServing",
        "message": "All workers serve.",
        "lastTransitionTime": "2026-11-21T08:00:00Z",
        "observedGeneration": 3,
    }
