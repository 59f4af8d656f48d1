"""How long workers take to start: Jacobson's estimator, and which starts count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.fleet.scaling.cold_starts import (
    LONGEST_SECONDS,
    MOST_KEYS,
    PRIOR_SECONDS,
    TELLING_MS,
    ColdStarts,
    StartKey,
    StartSight,
    StartTime,
    StartWatch,
)
from tierline.fleet.scaling.start_reading import read_start

COLD, WARM = StartKey("m", "h100", False), StartKey("m", "h100", True)
NOW = 1_000_000_000


def sight(uid="u1", ready_after_s=None, waited_s=1, accelerator="h100"):
    ready = None if ready_after_s is None else NOW + ready_after_s * 1000
    return StartSight(uid, "m", accelerator, NOW, NOW + waited_s * 1000, ready)


def test_mean_and_deviation_follow_jacobson():
    """First sample 40: deviation 20. Then 48: mean 41, deviation 20 + (8 - 20) / 4 = 17, bound 41 + 2 * 17."""
    time = StartTime().observed(40).observed(48)
    assert (time.mean_seconds, time.deviation_seconds, time.samples) == (41.0, 17.0, 2)
    assert time.bound_seconds == 75.0


def test_steady_starts_are_known_closely_and_a_change_is_followed():
    time = StartTime()
    for _ in range(30):
        time = time.observed(20)
    assert time.bound_seconds == pytest.approx(20, abs=0.5)
    for _ in range(30):
        time = time.observed(60)
    assert time.mean_seconds == pytest.approx(60, abs=1)


def test_what_was_never_seen_is_taken_from_the_nearest():
    starts = ColdStarts()
    assert starts.expected(COLD).bound_seconds == PRIOR_SECONDS
    cold = starts.observed(COLD, 100.0)
    assert cold.expected(WARM) == cold.expected(COLD), "a warm start takes no longer"
    warm = starts.observed(WARM, 5.0)
    assert warm.expected(COLD).bound_seconds == PRIOR_SECONDS, "nobody knows how long the fetch takes"
    assert cold.expected(StartKey("other", "h100", False)) == cold.expected(COLD)
    assert cold.expected(StartKey("other", "l4", False)).samples == 0


def test_a_start_counts_once_when_it_was_seen_and_the_worker_told():
    watch = StartWatch().looked([sight()], {}, NOW)
    waits = watch.looked([sight(ready_after_s=30)], {}, NOW + 31_000)
    assert not waits.starts.times
    told = waits.looked([sight(ready_after_s=30)], {"u1": False}, NOW + 36_000)
    assert told.starts.expected(COLD) == StartTime().observed(30)
    again = told.looked([sight(ready_after_s=30)], {"u1": False}, NOW + 41_000)
    assert (again.starts, again.starting) == (told.starts, frozenset())


def test_a_start_between_two_looks_counts_too():
    watch = StartWatch().looked([], {}, NOW - 1_000)
    quick = watch.looked([sight(ready_after_s=2)], {"u1": True}, NOW + 4_000)
    assert quick.starts.expected(WARM) == StartTime().observed(2)
    untold = watch.looked([sight(ready_after_s=2)], {}, NOW + 4_000)
    later = untold.looked([sight(ready_after_s=2)], {"u1": True}, NOW + 9_000)
    assert later.starts == quick.starts
    assert not watch.looked([sight(ready_after_s=2)], {"u1": True}, NOW + 4_000).starting


def test_who_was_ready_when_first_seen_or_never_tells_or_waited_for_a_node_teaches_nothing():
    ready = StartWatch().looked([sight(ready_after_s=30)], {"u1": True}, NOW)
    assert not ready.starts.times
    silent = StartWatch(starting=frozenset({"u1"})).looked([sight(ready_after_s=1)], {}, NOW + 1_000 + TELLING_MS)
    assert (silent.starts, silent.starting) == (ColdStarts(), frozenset())
    waited = StartWatch(starting=frozenset({"u1"}))
    late = waited.looked([sight(ready_after_s=300, waited_s=200)], {"u1": True}, NOW)
    assert (late.starts, late.starting) == (ColdStarts(), frozenset())


def test_workers_that_are_gone_are_forgotten():
    assert StartWatch().looked([sight()], {}, NOW).looked([], {}, NOW) == StartWatch(looked_ms=NOW)


def test_a_pod_tells_how_far_its_start_has_come():
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:42Z"}
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:02Z"}
    pod = {
        "metadata": {"name": "c-1", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"conditions": [condition, placed]},
    }
    node = {"metadata": {"labels": {"tierline.dev/accelerator": "l4"}}}
    seen = read_start(pod, node, "m")
    assert (seen.ready_ms or 0) - seen.created_ms == 42_000
    assert (seen.scheduled_ms or 0) - seen.created_ms == 2_000
    assert seen.accelerator == "l4"
    pod["status"]["conditions"][0] = {**condition, "status": "False"}
    assert read_start(pod, None, "m").ready_ms is None


@given(st.lists(st.floats(0, 10 * LONGEST_SECONDS), min_size=1, max_size=40))
def test_the_estimate_stays_within_what_was_seen(seconds):
    starts = ColdStarts()
    for it in seconds:
        starts = starts.observed(COLD, it)
    time, seen = starts.expected(COLD), [min(it, LONGEST_SECONDS) for it in seconds]
    assert min(seen) - 1e-6 <= time.mean_seconds <= max(seen) + 1e-6
    assert 0 <= time.deviation_seconds <= max(max(seen) - min(seen), seen[0] / 2) + 1e-6
    assert time.samples == len(seconds)


def test_only_so_many_are_remembered_and_the_oldest_go():
    starts = ColdStarts()
    for index in range(MOST_KEYS + 1):
        starts = starts.observed(StartKey(f"m{index}", "", True), 1.0)
    assert len(starts.times) == MOST_KEYS
    assert StartKey("m0", "", True) not in starts.times
