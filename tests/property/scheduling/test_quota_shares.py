"""Gateways that see the same give a tenant together what its quota says, whatever each was asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.scheduling.admission.quota import QuotaLimits
from tierline.scheduling.admission.quota_shares import local_share, quota_share

ASKED = st.lists(st.floats(0, 1000), min_size=1, max_size=6)


def shares(asked: list[float], running: list[int]):
    return [
        quota_share(here, [*asked[:at], *asked[at + 1 :]], sum(running) - running[at]) for at, here in enumerate(asked)
    ]


@given(ASKED)
def test_parts_sum_to_the_whole(asked) -> None:
    parts = [share.part for share in shares(asked, [0] * len(asked))]
    assert sum(parts) == pytest.approx(1.0)
    assert min(parts) > 0


@given(ASKED, st.integers(100, 100_000))
def test_limits_per_minute_sum_to_the_limit(asked, limit) -> None:
    limits = [share.of(QuotaLimits(limit, limit), 0) for share in shares(asked, [0] * len(asked))]
    assert 0.9 * limit <= sum(one.tokens_per_minute for one in limits) <= limit + len(asked)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 40))
def test_requests_at_a_time_exceed_the_limit_by_less_than_the_gateways(running, limit) -> None:
    found = shares([1.0] * len(running), running)
    allowed = [share.of(QuotaLimits(None, None, limit), here) for share, here in zip(found, running, strict=True)]
    assert sum(one.max_concurrent_requests for one in allowed) <= max(limit, sum(running)) + len(running) - 1
    if sum(running) < limit:
        assert all(one.max_concurrent_requests > here for one, here in zip(allowed, running, strict=True))


def test_a_gateway_alone_enforces_the_whole() -> None:
    limits = QuotaLimits(600, 60, 5)
    assert quota_share(3.0, [], 0).of(limits, 2) == limits
    assert local_share(1).of(limits, 2) == limits


def test_who_is_asked_more_enforces_more_and_nobody_nothing() -> None:
    busy, idle = shares([9.0, 0.0], [0, 0])
    assert busy.of(QuotaLimits(None, 110), 0).requests_per_minute == 104
    assert idle.of(QuotaLimits(None, 110), 0).requests_per_minute == 5


def test_without_a_view_of_the_others_each_enforces_its_part() -> None:
    assert local_share(4).of(QuotaLimits(1000, 8, 4), 0) == QuotaLimits(250, 2, 1)
