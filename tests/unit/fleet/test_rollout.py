"""How far a change goes: canaries, then all, or back."""

from dataclasses import replace

import pytest
from fleet_builders import NOW, pod

from tierline.fleet.rollout.canary import CanaryFigures, TierFigures
from tierline.fleet.rollout.record import read_record, record_status
from tierline.fleet.rollout.steps import RolloutPolicy, RolloutRecord, RolloutView, canary_count, step_rollout

CAREFUL = RolloutPolicy(canary_percent=20, hold_ms=60_000, progress_deadline_ms=300_000, min_requests=10)
OLD = tuple(pod(attempt, revision="old") for attempt in range(1, 6))


def view(*pods, policy=CAREFUL, **seen):
    standard = {"record": RolloutRecord(stable="old", target="old"), "wanted": "new", "replicas": 5}
    attainment = {"attainment_percent": {"gold": 95}}
    return RolloutView(**{**standard, **attainment, "policy": policy, "staying": pods, "now_ms": NOW, **seen})


def gold(requests, bad):
    return CanaryFigures({"gold": TierFigures(requests, bad)}, {"gold": TierFigures(1000, 0)})


def trying(ready=True, since_ms=NOW - 60_000):
    return RolloutRecord(stable="old", target="new", canaries_ready=ready, canaries_since_ms=since_ms)


def test_the_first_revision_is_the_stable_one():
    step = step_rollout(view(record=RolloutRecord()))
    assert step.record.stable == "new"
    assert step.shares == {"new": 5}


def test_without_canaries_all_workers_change_and_the_last_one_makes_it_stable():
    asked = view(*OLD, policy=RolloutPolicy())
    step = step_rollout(asked)
    assert (step.shares, step.record.stable, step.hold) == ({"new": 5}, "old", None)
    done = replace(asked, record=step.record, staying=tuple(pod(n) for n in range(6, 11)))
    assert step_rollout(done).record == RolloutRecord(stable="new", target="new")


def test_a_change_is_tried_by_its_share_of_the_workers_first():
    step = step_rollout(view(*OLD))
    assert step.shares == {"old": 4, "new": 1}
    assert (step.hold.gate, step.hold.reason) == ("Canary", "CanariesStarting")
    assert step.wake_at_ms == NOW + 300_000


@pytest.mark.parametrize(("replicas", "percent", "canaries"), [(5, 20, 1), (5, 21, 2), (1, 1, 1), (10, 100, 10)])
def test_the_share_of_canaries_is_rounded_up(replicas, percent, canaries):
    assert canary_count(replicas, percent) == canaries


def test_a_pool_of_one_keeps_its_worker_beside_the_canary():
    assert step_rollout(view(OLD[0], replicas=1)).shares == {"old": 1, "new": 1}


def test_canaries_have_to_serve_for_a_while():
    step = step_rollout(view(*OLD[:4], pod(6), record=trying(since_ms=NOW - 1000), figures=gold(100, 0)))
    assert (step.hold.gate, step.wake_at_ms) == ("HoldTime", NOW - 1000 + 60_000)


def test_a_change_whose_requests_keep_their_budgets_goes_on_to_all():
    step = step_rollout(view(*OLD[:4], pod(6), record=trying(), figures=gold(100, 0)))
    assert (step.shares, step.record.promoted, step.hold) == ({"new": 5}, "new", None)


@pytest.mark.parametrize(
    ("reason", "figures"), [("MetricsSilent", None), ("TooFewRequests", gold(9, 0)), ("BudgetBurning", gold(22, 2))]
)
def test_a_change_that_nobody_can_vouch_for_waits(reason, figures):
    step = step_rollout(view(*OLD[:4], pod(6), record=trying(), figures=figures))
    assert step.shares == {"old": 4, "new": 1}
    assert (step.hold.gate, step.hold.reason, step.hold.since_ms) == ("Analysis", reason, NOW - 60_000)


def test_a_change_that_burns_its_budget_is_taken_back_at_once_and_says_why():
    burning = view(*OLD[:4], pod(6), record=trying(since_ms=NOW - 1000), figures=gold(40, 30))
    step = step_rollout(burning)
    assert step.shares == {"old": 5}
    assert (step.record.rejected, step.record.stable) == ("new", "old")
    assert (step.hold.gate, step.hold.reason) == ("Rollback", "RolledBack")
    assert "30 of 40 requests on canaries missed or failed" in step.hold.message


def test_a_change_that_never_gets_ready_is_taken_back_with_its_workers_words():
    failing = pod(6, ready=False, failure="exited with code 1: no such file")
    step = step_rollout(view(*OLD, failing, record=trying(ready=False, since_ms=NOW - 300_000)))
    assert step.shares == {"old": 5}
    assert "exited with code 1: no such file" in step.record.rejection


def test_what_was_taken_back_stays_so_until_something_else_is_asked_for():
    rejected = RolloutRecord(stable="old", target="old", rejected="new", rejection="It burnt.", canaries_since_ms=NOW)
    again = step_rollout(view(*OLD, record=rejected))
    assert (again.shares, again.record) == ({"old": 5}, rejected)
    assert step_rollout(view(*OLD, record=rejected, wanted="newer")).shares == {"old": 4, "newer": 1}
    assert step_rollout(view(*OLD, record=rejected, wanted="old")).record.rejected == ""


def test_a_second_change_starts_its_canaries_anew():
    step = step_rollout(view(*OLD[:4], pod(6), record=trying(), wanted="newer", figures=gold(100, 0)))
    assert step.shares == {"old": 4, "newer": 1}
    assert (step.record.canaries_ready, step.record.canaries_since_ms) == (False, NOW)


def test_where_nothing_serves_there_is_nothing_to_protect():
    broken = tuple(replace(it, ready=False) for it in OLD)
    assert step_rollout(view(*broken)).shares == {"new": 5}


def test_a_change_under_way_is_remembered_to_the_second():
    step = step_rollout(view(*OLD[:4], pod(6), record=trying(), figures=gold(9, 0)))
    held = record_status(step.record, step.hold)
    assert read_record({"rollout": held}) == step.record
    assert held["hold"]["since"] == held["canariesSince"] == "1970-01-12T13:45:40Z"
