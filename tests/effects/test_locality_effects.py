"""Fairness beside prefix caching: eight tenants, each with four system prompts, and room for a quarter of these.

Pure longest-match order is DLPM with a quantum that never ends, VTC is the order by service without locality.
"""

from dataclasses import dataclass

import pytest
from cached_worker import DEAREST, OUTPUT_TOKENS, OWN_TOKENS, PREFIX_TOKENS, CachedWorker

TENANTS = tuple("abcdefgh")
REQUESTS = 1200
ENDLESS = 10**12


@dataclass(frozen=True)
class Outcome:
    """Share of prompt tokens that were cached, tokens computed a second, and the largest difference of counters."""

    hit_rate: float
    throughput: float
    difference: float


def outcome(quantum: int) -> Outcome:
    worker = CachedWorker(quantum, seed=7, prefixes=dict.fromkeys(TENANTS, 4))
    hits, difference = 0, 0.0
    for _, cached in worker.serve(REQUESTS):
        counters = [worker.queue.counter(tenant) for tenant in TENANTS]
        hits, difference = hits + cached, max(difference, max(counters) - min(counters))
    prompts = REQUESTS * (PREFIX_TOKENS + OWN_TOKENS)
    return Outcome(hits / prompts, 1000 * (prompts + REQUESTS * OUTPUT_TOKENS) / worker.now_ms, difference)


@pytest.fixture(scope="module")
def outcomes() -> dict[int, Outcome]:
    return {quantum: outcome(quantum) for quantum in (0, 1024, 4096, 16_384, ENDLESS)}


def test_deficits_keep_most_hits_of_the_longest_match_and_the_bound(outcomes, record_effect) -> None:
    longest, fair = outcomes[ENDLESS], outcomes[4096]
    bound = 4096 + DEAREST
    record_effect("D1_hit_rate", value=100 * fair.hit_rate / longest.hit_rate, threshold=90, unit="% of longest match")
    assert longest.difference > bound
    for quantum in (1024, 16_384):
        assert outcomes[quantum].difference <= quantum + DEAREST
    record_effect(
        "D1_counter_difference",
        value=fair.difference,
        threshold=bound,
        unit="weighted tokens (bound Q + U)",
        at_least=False,
    )


def test_locality_serves_more_than_order_by_service_alone(outcomes, record_effect) -> None:
    ratio = outcomes[4096].throughput / outcomes[0].throughput
    record_effect("D1_throughput", value=ratio, threshold=2.0, unit="x of VTC without locality")
