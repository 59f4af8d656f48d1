import pytest

from tierline.fleet.scaling.capacity import RequestShape
from tierline.fleet.scaling.signals import Reading, Sample, traffic_between, typical
from tierline.scheduling.latency import Coefficients

TERMS = ("iteration", "prefill_token", "attention_pair", "decode", "kv_token")


def sample(name: str, value: float, pod: str = "gw-1", **labels: str) -> Sample:
    return Sample(pod, name, tuple(labels.items()), value)


def gateway(ended: float, queued: float = 0, running: float = 0, pod: str = "gw-1", tier: str = "gold") -> list[Sample]:
    """A gateway after `ended` requests of 100 and 10 tokens, half of which had their first token within 0.1 s."""
    return [
        sample("tierline_gateway_requests_total", ended, pod, tier=tier, outcome="ok"),
        sample("tierline_gateway_queue_requests", queued, pod, tier=tier),
        sample("tierline_gateway_running_requests", running, pod),
        sample("tierline_billed_prompt_tokens_total", 100 * ended, pod, tenant="t"),
        sample("tierline_billed_output_tokens_total", 10 * ended, pod, tenant="t"),
        sample("tierline_ttft_seconds_bucket", ended / 2, pod, tier=tier, le="0.1"),
        sample("tierline_ttft_seconds_bucket", ended, pod, tier=tier, le="0.5"),
        sample("tierline_ttft_seconds_bucket", ended, pod, tier=tier, le="+Inf"),
    ]


def worker(pod: str, scale: float = 1.0, iterations: float = 1000.0) -> list[Sample]:
    terms = [sample("tierline_worker_latency_coefficient_ms", scale, pod, term=term) for term in TERMS]
    return [*terms, sample("tierline_worker_latency_samples_total", iterations, pod)]


def test_arrivals_are_what_ended_and_how_many_more_are_inside():
    before, now = Reading(0, tuple(gateway(100))), Reading(10_000, tuple(gateway(150, queued=20, running=10)))
    gold = traffic_between(before, now).tiers["gold"]
    assert gold.per_second == pytest.approx(8.0)
    assert gold.queued == 20


def test_the_first_that_waits_at_any_gateway_is_due_first():
    name = "tierline_gateway_queue_due_timestamp_seconds"
    told = [
        sample(name, 70.5, tier="gold"),
        sample(name, 60.25, "gw-2", tier="gold"),
        *gateway(0, queued=1, tier="batch"),
    ]
    tiers = traffic_between(None, Reading(0, (*told, *gateway(0, queued=2)))).tiers
    assert (tiers["gold"].due_ms, tiers["batch"].due_ms) == (60_250, None)


def test_lengths_are_means_of_requests_that_were_answered():
    traffic = traffic_between(Reading(0, tuple(gateway(100))), Reading(10_000, tuple(gateway(150))))
    assert traffic.shape == RequestShape(100.0, 10.0)


def test_percentiles_are_read_from_what_the_buckets_grew_by():
    traffic = traffic_between(Reading(0, tuple(gateway(100))), Reading(10_000, tuple(gateway(200))))
    assert traffic.tiers["gold"].ttft_ms == pytest.approx(100 + 400 * (95 - 50) / 50)


def test_gateways_add_up_and_one_that_was_restarted_counts_from_zero():
    before = Reading(0, (*gateway(100), *gateway(1000, pod="gw-2")))
    now = Reading(10_000, (*gateway(150), *gateway(30, pod="gw-2")))
    assert traffic_between(before, now).tiers["gold"].per_second == pytest.approx(8.0)


def test_tiers_share_what_came_by_what_ended_and_waits():
    before = Reading(0, (*gateway(0), *gateway(0, tier="batch")))
    now = Reading(10_000, (*gateway(30), *gateway(10, tier="batch")))
    tiers = traffic_between(before, now).tiers
    assert (tiers["gold"].per_second, tiers["batch"].per_second) == (pytest.approx(3.0), pytest.approx(1.0))


def test_one_look_tells_what_stands_there_but_no_rates():
    traffic = traffic_between(None, Reading(0, (*gateway(100, queued=3), *worker("w-1"))))
    assert traffic.tiers["gold"].queued == 3
    assert traffic.tiers["gold"].per_second == 0
    assert traffic.shape is None
    assert traffic.coefficients == {"w-1": Coefficients(1, 1, 1, 1, 1)}


def test_cold_workers_are_told_from_warm_ones_and_one_without_all_terms_tells_nothing():
    now = Reading(0, (*worker("cold", iterations=49), *worker("warm"), *worker("odd")[1:]))
    traffic = traffic_between(None, now)
    assert traffic.warm == {"warm", "odd"}
    assert set(traffic.coefficients) == {"cold", "warm"}


def test_one_odd_worker_does_not_size_a_fleet():
    told = [Coefficients(*([scale] * 5)) for scale in (1.0, 1.1, 50.0)]
    found = typical(told)
    assert found is not None
    assert found.iteration_ms == 1.1
    assert typical([]) is None
