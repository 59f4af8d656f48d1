"""A drill from its wait to its verdict, one sentence a test."""

from dataclasses import replace

import pytest
from fleet_builders import FLEET, NOW

from tierline.fleet.drills.counts import TierCounts
from tierline.fleet.drills.judging import Criteria, TierCriteria
from tierline.fleet.drills.status import drill_status, drill_verdicts, read_drill
from tierline.fleet.drills.steps import DrillAct, DrillRecord, DrillView, Victim, step_drill
from tierline.telemetry.gateway_metrics import SECONDS_BUCKETS

VICTIM = Victim("chat-main-1", "uid-1", "node-a")
BEGUN = DrillRecord(target="chat-main-1", target_uid="uid-1", leader="operator-a", started_ms=NOW)


def asking(tiers=None, **bounds):
    return Criteria(60_000, tiers=tiers or {}, **bounds)


def view(kind="WorkerKill", attainment=None, **seen):
    standard = {
        "lasts_ms": 30_000,
        "criteria": asking({tier: TierCriteria(percent) for tier, percent in (attainment or {}).items()}),
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
        ("TenantFlood", {"after_ms": 30_000}),
        ("OperatorDown", {"leader_since_ms": NOW + 2_000}),
        ("OperatorDown", {"leader": "operator-b", "leader_since_ms": NOW}),
    ],
)
def test_a_fleet_that_is_ready_again_ends_the_drill_and_undoes_it(kind, seen):
    step = step_drill(running(kind, **seen))
    assert (step.act, step.verdict) == (DrillAct.UNDO, ())
    assert step.record.recovered_ms == step.record.finished_ms
    assert [it.holds for it in drill_verdicts(step) if it.type == "Passed"] == [True]


@pytest.mark.parametrize("kind", ["WorkerKill", "SpotReclaim", "MetricsBlackout", "TenantFlood", "OperatorDown"])
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


def histogram(*counts):
    """Counts by bucket of the gateways' times to first token, as they accumulate; later buckets hold no more."""
    return (*counts, *[counts[-1]] * (len(SECONDS_BUCKETS) + 1 - len(counts)))


def test_times_are_judged_by_what_was_added_to_the_histograms_since_it_began():
    """20 answers within 5 ms before; then 19 within 50 to 100 ms and one within 100 to 250 ms."""
    base = replace(BEGUN, baseline={"gold": TierCounts(20, ttft=histogram(20))})
    now = {"gold": TierCounts(40, ttft=histogram(20, 20, 20, 20, 39, 40))}
    tiers = {"gold": TierCriteria(ttft_ms={50: 80, 95: 99, 99: 250}, tpot_ms={95: 20})}
    step = step_drill(running(record=base, victim_gone=True, counts=now, criteria=asking(tiers)))
    assert [(it.name, it.measured, it.bound, bool(it.broken)) for it in step.checks if "gold" in it.name] == [
        ("gold.ttftMilliseconds.p50", 77, 80, False),
        ("gold.ttftMilliseconds.p95", 100, 99, True),
        ("gold.ttftMilliseconds.p99", 220, 250, False),
        ("gold.tpotMilliseconds.p95", None, 20, True),
    ]
    assert step.verdict == (
        "tier gold has a p95 of its first tokens of 100 ms, 99 ms are allowed",
        "tier gold has a p95 of its time per token of which nothing is known",
    )


def test_a_time_beyond_the_last_bucket_keeps_no_bound():
    beyond = {"gold": TierCounts(1, ttft=(*[0] * len(SECONDS_BUCKETS), 1))}
    tiers = {"gold": TierCriteria(ttft_ms={50: 3_600_000})}
    step = step_drill(running(victim_gone=True, counts=beyond, criteria=asking(tiers)))
    assert step.verdict == ("tier gold has a p50 of its first tokens beyond what is measured, 3600000 ms are allowed",)


def test_tokens_that_are_lost_or_come_twice_fail_it():
    counts = {"gold": TierCounts(9, lost_tokens=5, duplicated_tokens=2), "batch": TierCounts(9, lost_tokens=1)}
    step = step_drill(running(victim_gone=True, counts=counts, criteria=asking(max_duplicated_tokens=2)))
    assert step.verdict == ("6 tokens were lost, 0 may",)
    status = drill_status(FLEET, step.record, drill_verdicts(step), NOW, step.checks)
    assert status["checks"][2:] == [
        {"name": "lostTokens", "measured": 6, "bound": 0, "outcome": "Broken"},
        {"name": "duplicatedTokens", "measured": 2, "bound": 2, "outcome": "Kept"},
    ]


def test_a_flood_that_did_not_come_proves_nothing():
    begun = replace(BEGUN, flood_base=100)
    for flooded, verdict in ((400, ()), (399, ("only 299 requests of the flood ended, so it was none",))):
        seen = {"record": begun, "after_ms": 30_000, "flooded": flooded, "criteria": asking(flood_requests=300)}
        step = step_drill(running("TenantFlood", **seen))
        assert (step.verdict, step.record.flood_requests) == (verdict, flooded - 100)


def test_a_flood_begins_only_where_its_effect_can_be_seen():
    assert step_drill(view("TenantFlood")).waits[0] == "MetricsSilent"
    step = step_drill(view("TenantFlood", counts={}, flooded=7))
    assert (step.act, step.record.flood_base) == (DrillAct.INJECT, 7)


def test_a_gateway_that_forgot_takes_nothing_away():
    before = TierCounts(10, ttft=histogram(10))
    assert TierCounts(2, ttft=histogram(2)).since(before) == TierCounts(0, ttft=histogram(2))
