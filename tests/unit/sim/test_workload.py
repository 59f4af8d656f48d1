"""Generated workloads: seeded, independent per tenant, and like the traces they are fitted to."""

from dataclasses import replace

import numpy as np
import pytest

from tierline.sim.presets import AZURE_CODE, AZURE_CONVERSATION
from tierline.sim.workload import TenantTraffic, plan_workload

CHAT = TenantTraffic("acme", "fast", 5.0, AZURE_CONVERSATION)
CODE = TenantTraffic("zeta", "batch", 2.0, AZURE_CODE)


def test_the_same_seed_gives_the_same_requests() -> None:
    assert plan_workload([CHAT, CODE], 30, seed=1) == plan_workload([CODE, CHAT], 30, seed=1)
    assert plan_workload([CHAT], 30, seed=1) != plan_workload([CHAT], 30, seed=2)


def test_tenants_do_not_disturb_each_other() -> None:
    both = plan_workload([CHAT, CODE], 30, seed=1)
    assert tuple(request for request in both if request.tenant == "acme") == plan_workload([CHAT], 30, seed=1)


def test_arrivals_ascend_within_the_time() -> None:
    times = [request.at_ms for request in plan_workload([CHAT, CODE], 30, seed=3)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] < 30_000


def test_lengths_have_the_published_quantiles() -> None:
    run = plan_workload([CHAT], 2000, seed=1)
    assert len(run) == pytest.approx(10_000, rel=0.1)
    assert np.median([request.prompt_tokens for request in run]) == pytest.approx(1020, rel=0.1)
    assert np.percentile([request.output_tokens for request in run], 90) == pytest.approx(424, rel=0.1)


@pytest.mark.parametrize(("preset", "low", "high"), [(AZURE_CONVERSATION, 0.9, 1.3), (AZURE_CODE, 6, 30)])
def test_arrivals_are_as_bursty_as_published(preset: object, low: float, high: float) -> None:
    run = plan_workload([replace(CHAT, preset=preset)], 4000, seed=1)
    gaps = np.diff([request.at_ms for request in run])
    assert low < gaps.std() / gaps.mean() < high


def test_scaled_lengths_stay_positive() -> None:
    run = plan_workload([replace(CHAT, prompt_scale=0.001, output_scale=0.001, min_output_tokens=4)], 30, seed=1)
    assert min(request.prompt_tokens for request in run) == 1
    assert {request.output_tokens for request in run} == {4}


def test_a_silent_tenant_sends_nothing() -> None:
    assert plan_workload([replace(CHAT, requests_per_second=0)], 30, seed=1) == ()


def test_a_source_sends_only_in_its_window() -> None:
    times = [request.at_ms for request in plan_workload([replace(CHAT, start_seconds=10, end_seconds=20)], 30, seed=1)]
    assert 20 < len(times) < 90
    assert min(times) >= 10_000
    assert max(times) < 20_000
    assert plan_workload([replace(CHAT, start_seconds=40)], 30, seed=1) == ()


def test_clients_ask_for_more_than_they_get() -> None:
    run = plan_workload([replace(CHAT, max_tokens=200)], 60, seed=1)
    assert {request.asked_tokens for request in run} == {200}
    assert max(request.output_tokens for request in run) == 200
    assert min(request.output_tokens for request in run) < 100
