"""Seeded request streams of several tenants, drawn from published statistics.

A tenant sends at its own rate with one preset's lengths, scaled to the model at hand (a 135M model on two cores cannot
be given four thousand prompt tokens a second). The same seed gives the same requests, and a tenant's requests do not
depend on which other tenants there are.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tierline.sim.presets import Lengths, TrafficPreset


@dataclass(frozen=True, slots=True)
class TenantTraffic:
    """What one tenant sends to one tier from `start_seconds` to `end_seconds`; scales multiply lengths and limits.

    `max_tokens` is the longest answer that its clients ask for; None: exactly as long as the answer becomes.
    """

    tenant: str
    tier: str
    requests_per_second: float
    preset: TrafficPreset
    prompt_scale: float = 1.0
    output_scale: float = 1.0
    min_output_tokens: int = 1
    max_tokens: int | None = None
    start_seconds: float = 0.0
    end_seconds: float = float("inf")


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request to send at `at_ms` after the start; its answer ends by itself after `output_tokens`.

    `max_tokens` is what its client asks for, which is all that schedulers may know; None: the answer's own length.
    """

    at_ms: float
    tenant: str
    tier: str
    prompt_tokens: int
    output_tokens: int
    max_tokens: int | None = None

    @property
    def asked_tokens(self) -> int:
        return self.output_tokens if self.max_tokens is None else self.max_tokens


def plan_workload(traffic: Sequence[TenantTraffic], seconds: float, seed: int) -> tuple[PlannedRequest, ...]:
    """Return all tenants' requests of `seconds` seconds in the order of their arrival."""
    requests = [request for source in traffic for request in _tenant_requests(source, seconds, seed)]
    return tuple(sorted(requests, key=lambda request: (request.at_ms, request.tenant)))


def _tenant_requests(source: TenantTraffic, seconds: float, seed: int) -> list[PlannedRequest]:
    rng = np.random.default_rng([seed, _stable_number(f"{source.tenant}/{source.tier}")])
    window_s = min(source.end_seconds, seconds) - source.start_seconds
    arrivals_ms = _arrivals_ms(rng, source.requests_per_second, source.preset.arrival_cv, window_s)
    arrivals_ms += source.start_seconds * 1000
    prompts = _draw(rng, source.preset.prompt_tokens, source.prompt_scale, len(arrivals_ms))
    outputs = _draw(rng, source.preset.output_tokens, source.output_scale, len(arrivals_ms))
    outputs = np.minimum(np.maximum(outputs, source.min_output_tokens), source.max_tokens or np.inf)
    return [
        PlannedRequest(float(at_ms), source.tenant, source.tier, int(prompt), int(output), source.max_tokens)
        for at_ms, prompt, output in zip(arrivals_ms, prompts, outputs, strict=True)
    ]


def _arrivals_ms(rng: np.random.Generator, rate: float, cv: float, seconds: float) -> NDArray[np.float64]:
    """Draw gamma gaps with mean 1/rate and the given coefficient of variation until `seconds` are over."""
    if rate <= 0 or seconds <= 0:
        return np.empty(0)
    shape = 1 / cv**2
    times = np.empty(0)
    while not times.size or times[-1] < seconds:
        gaps = rng.gamma(shape, 1 / (rate * shape), size=max(int(rate * seconds), 16))
        times = np.concatenate([times, np.cumsum(gaps) + (times[-1] if times.size else 0.0)])
    arrived: NDArray[np.float64] = times[times < seconds] * 1000
    return arrived


def _draw(rng: np.random.Generator, lengths: Lengths, scale: float, count: int) -> NDArray[np.int64]:
    drawn = rng.lognormal(lengths.mu, lengths.sigma, size=count)
    return np.maximum(np.rint(np.minimum(drawn, lengths.limit) * scale), 1).astype(np.int64)


def _stable_number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big")
