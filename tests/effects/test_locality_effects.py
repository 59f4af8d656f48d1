"""Fairness beside prefix caching: eight tenants, each with four system prompts, and room for a quarter of these.

One worker computes request after request; what it holds is a `PrefixMap` of that size. Pure longest-match order is
DLPM with a quantum that never ends, VTC is the order by service without locality.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from tierline.scheduling.locality import PrefixMap, chunk_keys
from tierline.scheduling.queued import OUTPUT_WEIGHT, QueuedRequest
from tierline.scheduling.queueing import QueueManager

TENANTS = tuple("abcdefgh")
PREFIX_TOKENS, OWN_TOKENS, OUTPUT_TOKENS = 2048, 64, 32
WAITING_EACH, REQUESTS = 12, 1200
TOKEN_MS = 0.1
DEAREST = PREFIX_TOKENS + OWN_TOKENS + OUTPUT_WEIGHT * OUTPUT_TOKENS
ENDLESS = 10**12


@dataclass(frozen=True)
class Outcome:
    """Share of prompt tokens that were cached, tokens computed a second, and the largest difference of counters."""

    hit_rate: float
    throughput: float
    difference: float


class CachedWorker:
    """Serves whom the queue names; every tenant always has `WAITING_EACH` requests waiting."""

    def __init__(self, quantum: int, seed: int) -> None:
        self.map = PrefixMap()
        self.queue = QueueManager(cached=self._cached)
        self.now_ms = 0.0
        self._quantum = quantum
        self._rng = np.random.default_rng(seed)
        self._keys: dict[str, tuple[bytes, ...]] = {}
        for tenant in TENANTS * WAITING_EACH:
            self.push(tenant)

    def push(self, tenant: str) -> None:
        prefix = int(self._rng.integers(4))
        tokens = [ord(tenant) * 8 + prefix] * PREFIX_TOKENS + self._rng.integers(10_000, 20_000, OWN_TOKENS).tolist()
        request_id = f"r{len(self._keys):06d}"
        self._keys[request_id] = chunk_keys(tokens, tenant)
        self.queue.push(
            QueuedRequest(
                request_id=request_id,
                tenant=tenant,
                tier="t",
                priority=1,
                context_tokens=len(tokens),
                total_tokens=len(tokens) + OUTPUT_TOKENS,
                arrival_ms=self.now_ms,
                deadline_ms=self.now_ms + 10_000,
                expires_ms=1e12,
                expected_output_tokens=OUTPUT_TOKENS,
                service_difference_tokens=max(self._quantum, 1),
                quantum_tokens=self._quantum,
            )
        )

    def serve(self) -> Iterator[tuple[int, float]]:
        """Yield the cached tokens of each request, and how far counters are apart after it."""
        for _ in range(REQUESTS):
            request = self.queue.next(self.now_ms, lambda _: True)
            assert request is not None
            cached = self._cached(request)
            self.queue.take(request)
            self.map.sent("worker", self._keys[request.request_id], 8 * PREFIX_TOKENS)
            self.now_ms += TOKEN_MS * (request.context_tokens - cached + OUTPUT_WEIGHT * OUTPUT_TOKENS)
            self.push(request.tenant)
            counters = [self.queue.counter(tenant) for tenant in TENANTS]
            yield cached, max(counters) - min(counters)

    def _cached(self, request: QueuedRequest) -> int:
        return self.map.cached_anywhere(self._keys[request.request_id])


def outcome(quantum: int) -> Outcome:
    worker = CachedWorker(quantum, seed=7)
    cached, differences = zip(*worker.serve(), strict=True)
    prompts = REQUESTS * (PREFIX_TOKENS + OWN_TOKENS)
    return Outcome(sum(cached) / prompts, 1000 * (prompts + REQUESTS * OUTPUT_TOKENS) / worker.now_ms, max(differences))


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
