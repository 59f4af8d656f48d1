"""Curves of a run for plots and tables: distributions, requests in the system, service over time. Pure numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tierline.telemetry.fairness import service_events
from tierline.telemetry.records import RequestRecord


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one line; `x` ascends."""

    x: tuple[float, ...]
    y: tuple[float, ...]


def cdf(samples: Iterable[float]) -> Curve:
    """Return the share of samples at or below each sample."""
    ordered = sorted(samples)
    return Curve(tuple(ordered), tuple((rank + 1) / len(ordered) for rank in range(len(ordered))))


def queued(records: Sequence[RequestRecord]) -> Curve:
    """Return how many requests had arrived but had no token yet, over time in milliseconds."""
    return _level([(record.arrived_ms, record.token_times_ms[0]) for record in records if record.token_times_ms])


def running(records: Sequence[RequestRecord]) -> Curve:
    """Return how many requests were between their first and their last token, over time in milliseconds."""
    return _level(
        [(record.token_times_ms[0], record.token_times_ms[-1]) for record in records if record.token_times_ms]
    )


def service(records: Sequence[RequestRecord], tenant: str, weight: float) -> Curve:
    """Return a tenant's accumulated service per unit of weight, over time in milliseconds."""
    total = 0.0
    x, y = [0.0], [0.0]
    for event in service_events([record for record in records if record.tenant == tenant]):
        total += event.service / weight
        x.append(event.at_ms)
        y.append(total)
    return Curve(tuple(x), tuple(y))


def _level(spans: Sequence[tuple[float, float]]) -> Curve:
    steps = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    level = 0
    x, y = [0.0], [0.0]
    for moment, step in steps:
        level += step
        x.append(moment)
        y.append(float(level))
    return Curve(tuple(x), tuple(y))
