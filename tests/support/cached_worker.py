"""One worker with a prefix cache, computing request after request in the order of the shipped queue."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import OUTPUT_WEIGHT, QueuedRequest
from tierline.scheduling.routing.locality import PrefixMap, chunk_keys

PREFIX_TOKENS, OWN_TOKENS, OUTPUT_TOKENS = 2048, 64, 32
DEAREST = PREFIX_TOKENS + OWN_TOKENS + OUTPUT_WEIGHT * OUTPUT_TOKENS
WAITING_EACH = 12
TOKEN_MS = 0.1


class CachedWorker:
    """What it holds is a `PrefixMap` of eight prompts; every tenant always has `WAITING_EACH` requests waiting.

    A tenant draws the beginning of each prompt from so many as `prefixes` says.
    """

    def __init__(self, quantum: int, seed: int, prefixes: Mapping[str, int]) -> None:
        self.queue = QueueManager(cached=self._cached)
        self.now_ms = 0.0
        self._map = PrefixMap()
        self._quantum, self._prefixes = quantum, prefixes
        self._rng = np.random.default_rng(seed)
        self._keys: dict[str, tuple[bytes, ...]] = {}
        for tenant in (*prefixes,) * WAITING_EACH:
            self._push(tenant)

    def serve(self, requests: int) -> Iterator[tuple[QueuedRequest, int]]:
        """Yield each request that is served, and how much of its prompt was cached."""
        for _ in range(requests):
            request = self.queue.next(self.now_ms, lambda _: True)
            assert request is not None
            cached = self._cached(request)
            self.queue.take(request)
            self._map.sent("worker", self._keys[request.request_id], 8 * PREFIX_TOKENS)
            self.now_ms += TOKEN_MS * (request.context_tokens - cached + OUTPUT_WEIGHT * OUTPUT_TOKENS)
            self._push(request.tenant)
            yield request, cached

    def _push(self, tenant: str) -> None:
        prompt = self._prompt(tenant)
        request_id = f"r{len(self._keys):06d}"
        self._keys[request_id] = chunk_keys(prompt, tenant)
        self.queue.push(
            QueuedRequest(
                request_id=request_id,
                tenant=tenant,
                tier="t",
                priority=1,
                context_tokens=len(prompt),
                total_tokens=len(prompt) + OUTPUT_TOKENS,
                arrival_ms=self.now_ms,
                deadline_ms=self.now_ms + 10_000,
                expires_ms=1e12,
                expected_output_tokens=OUTPUT_TOKENS,
                service_difference_tokens=max(self._quantum, 1),
                quantum_tokens=self._quantum,
            )
        )

    def _prompt(self, tenant: str) -> Sequence[int]:
        prefix = int(self._rng.integers(self._prefixes[tenant]))
        return [prefix] * PREFIX_TOKENS + self._rng.integers(10_000, 20_000, OWN_TOKENS).tolist()

    def _cached(self, request: QueuedRequest) -> int:
        return self._map.cached_anywhere(self._keys[request.request_id])
