"""Drills' figures: what is added is never below nothing, and percentiles bracket what was observed."""

import math
from bisect import bisect_left
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from tierline.fleet.drills.counts import TierCounts
from tierline.telemetry.gateway_metrics import SECONDS_BUCKETS
from tierline.telemetry.histograms import bucket_quantile
from tierline.telemetry.percentiles import nearest_rank

SECONDS = st.lists(st.floats(0.0, 119.0), min_size=1, max_size=60)


def buckets(seconds):
    counts = [0] * (len(SECONDS_BUCKETS) + 1)
    for it in seconds:
        counts[bisect_left(SECONDS_BUCKETS, it)] += 1
    return tuple(accumulate(counts))


@given(SECONDS, st.integers(1, 100))
def test_a_percentile_is_known_to_the_width_of_its_bucket(seconds, percent):
    cumulative = list(zip((*SECONDS_BUCKETS, math.inf), buckets(seconds), strict=True))
    found = bucket_quantile(cumulative, percent / 100)
    exact = nearest_rank(sorted(seconds), percent)
    at = bisect_left(SECONDS_BUCKETS, exact)
    low = SECONDS_BUCKETS[at - 1] if at else 0.0
    assert low - 1e-9 <= found <= SECONDS_BUCKETS[at] + 1e-9


@given(SECONDS, SECONDS)
def test_what_came_later_is_what_is_added(before, later):
    base, now = (
        TierCounts(len(before), ttft=buckets(before)),
        TierCounts(len(before) + len(later), ttft=buckets([*before, *later])),
    )
    assert now.since(base) == TierCounts(len(later), ttft=buckets(later))


@given(SECONDS, SECONDS)
def test_a_gateway_that_was_restarted_counts_from_its_start(before, after):
    base, now = TierCounts(len(before), ttft=buckets(before)), TierCounts(len(after), ttft=buckets(after))
    added = now.since(base)
    assert added.requests >= 0
    assert all(it >= 0 for it in added.ttft)
