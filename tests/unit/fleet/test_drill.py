"""A drill from its wait to its verdict, one sentence a test."""

from dataclasses import replace

import pytest
from fleet_builders import FLEET, NOW

from tierline.fleet.drills.status import drill_status, drill_verdicts, read_drill
from tierline.fleet.drills.steps import Criteria, DrillAct, DrillRecord, DrillView, TierCounts, Victim, step_drill

VICTIM = Victim("chat-main-1", "uid-1", "node-a")
BEGUN = DrillRecord(target="chat-main-1", target_uid="uid-1", leader="operator-a", started_ms=NOW)


def view(kind="WorkerKill", attainment=None, **seen):
    standard = {
        "lasts_ms": 30_000,
        "criteria": Criteria(60_000, 0, attainment or {}),
        "record": DrillRecord(),
        "now_ms": NOW,
        "quiet": True,
        "leader": "operator-a",
        "leader_since_ms": NOW - 3_600_000,
        "victim": VICTIM,
    }
    return DrillView(kind=kind, **{**standard, **seen})


def running(kind="WorkerKill", after_ms=5_000, **seen):
    return view(kind, record=seen.pop("record", BEGUN), now_ms=NOW + after_ms, **seen)


@pytest.mark.parametrize(("kind", "target"), [("WorkerKill", "chat-main-1"), ("SpotReclaim", "node-a")])
def test_what_will_be_hit_is_recorded_with_the_injection(kind, target):
    step = step_drill(view(kind, counts={"gold": TierCounts(10, 1, 2)}))
    assert (step.act, step.record.target, step.record.started_ms) == (DrillAct.INJECT, target, NOW)
    assert step.record.baseline == {"gold": TierCounts(10, 1, 2)}


def test_a_drill_waits_where_it_may_not_start_and_says_why():
    step = step_drill(view(obstacle=("NotAllowed", "No label.")))
    assert (step.act, step.record, step.waits[0]) == (DrillAct.NOTHING, DrillRecord(), "NotAllowed")
    assert step_drill(view(victim=None)).waits[0] == "NoWorker"
    assert step_drill(view(attainment={"gold": 90})).waits[0] == "MetricsSilent"


def test_an_injection_that_was_recorded_but_not_done_is_done_again():
    assert step_drill(running()).act is DrillAct.INJECT
    assert step_drill(running(victim_gone=True, quiet=False)).act is DrillAct.NOTHING
    assert step_drill(running("OperatorDown", leader_since_ms=NOW - 5000)).act is DrillAct.INJECT
    assert step_drill(running("OperatorDown", leader_since_ms=NOW + 2000, quiet=False)).act is DrillAct.NOTHING


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("WorkerKill", {"victim_gone": True}),
        ("SpotReclaim", {"victim_gone": True}),
        ("MetricsBlackout", {"after_ms": 30_000}),
        ("OperatorDown", {"leader_since_ms": NOW + 2_000}),
        ("OperatorDown", {"leader": "operator-b", "leader_since_ms": NOW}),
    ],
)
def test_a_fleet_that_is_ready_again_ends_the_drill_and_undoes_it(kind, seen):
    step = step_drill(running(kind, **seen))
    assert (step.act, step.verdict) == (DrillAct.UNDO, ())
    assert step.record.recovered_ms == step.record.finished_ms
    assert [it.holds for it in drill_verdicts(step) if it.type == "Passed"] == [True]


@pytest.mark.parametrize("kind", ["WorkerKill", "SpotReclaim", "MetricsBlackout", "OperatorDown"])
def test_a_fleet_that_does_not_recover_fails_the_drill_in_time(kind):
    assert step_drill(running(kind, after_ms=89_999, quiet=False)).verdict is None
    step = step_drill(running(kind, after_ms=90_000, quiet=False))
    assert step.act is DrillAct.UNDO
    assert "not ready again within 60 s" in step.verdict[0]


def test_lost_requests_and_missed_tiers_fail_it():
    base = replace(BEGUN, baseline={"gold": TierCounts(100, 50, 3)})
    counts = {"gold": TierCounts(120, 54, 4)}
    step = step_drill(running(record=base, victim_gone=True, counts=counts, attainment={"gold": 90, "batch": 50}))
    assert step.record.figures == {"gold": TierCounts(20, 4, 1)}
    assert step.verdict == (
        "1 requests failed, 0 may",
        "tier gold attained 75.0 %, 90 % are asked for",
        "tier batch had no requests, so nothing is known of it",
    )


def test_what_the_server_refuses_ends_the_drill_with_its_words():
    step = step_drill(running("SpotReclaim", refused="The operator may not taint nodes"))
    assert (step.act, step.verdict) == (DrillAct.UNDO, ("The operator may not taint nodes",))


def test_whoever_takes_over_knows_what_was_begun_and_undoes_what_was_ended():
    step = step_drill(view(counts={"gold": TierCounts(10, 1, 2)}))
    status = drill_status(FLEET, step.record, drill_verdicts(step), NOW)
    assert read_drill(status) == step.record
    ended = replace(BEGUN, recovered_ms=NOW + 4000, finished_ms=NOW + 4000)
    again = step_drill(running(record=ended))
    assert (again.act, again.verdict) == (DrillAct.UNDO, ())
    assert drill_status(FLEET, ended, drill_verdicts(again), NOW)["recoverySeconds"] == 4
