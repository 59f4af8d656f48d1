"""Service per tenant, and how far it drifts apart while tenants compete.

The unit is VTC's (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024): prompt tokens count once,
output tokens twice, divided by the tenant's weight. Only time in which both tenants of a pair have a request waiting
counts: who asks for nothing is not treated unfairly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from tierline.telemetry.measured import Measured, Unknown
from tierline.telemetry.records import RequestRecord, TenantShare

PROMPT_COST = 1.0
OUTPUT_COST = 2.0

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class TenantService:
    """Tokens a tenant got (prompt and output); `service_ratio` is its share of service over its share of weight."""

    served_tokens: int
    weight: float
    service_ratio: Measured


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """`service` of a tenant, in VTC's unit and not yet divided by its weight, given at one moment."""

    at_ms: float
    tenant: str
    service: float


def service_events(records: Sequence[RequestRecord]) -> list[ServiceEvent]:
    """Return every piece of service in time order: the prompt with the first token, then each output token."""
    events = [event for record in records for event in _events_of(record)]
    return sorted(events, key=lambda event: event.at_ms)


def tenant_services(records: Sequence[RequestRecord], tenants: Sequence[TenantShare]) -> dict[str, TenantService]:
    """Return what each tenant was given."""
    totals = {tenant.name: 0.0 for tenant in tenants}
    for event in service_events(records):
        totals[event.tenant] += event.service
    weights = sum(tenant.weight for tenant in tenants)
    return {
        tenant.name: TenantService(
            served_tokens=_served_tokens(records, tenant.name),
            weight=tenant.weight,
            service_ratio=_ratio(totals, tenant, weights),
        )
        for tenant in tenants
    }


def max_service_difference(records: Sequence[RequestRecord], tenants: Sequence[TenantShare]) -> Measured:
    """Return the largest |W_f/w_f - W_g/w_g| over any interval in which tenants f and g both had requests waiting."""
    events = service_events(records)
    weights = {tenant.name: tenant.weight for tenant in tenants}
    waiting = {tenant.name: _merged(_waits(records, tenant.name)) for tenant in tenants}
    drifts = [
        _drift(events, span, {first: weights[first], second: -weights[second]})
        for first, second in combinations(weights, 2)
        for span in _overlaps(waiting[first], waiting[second])
    ]
    return max(drifts) if drifts else Unknown("no two tenants had requests waiting at the same time")


def _events_of(record: RequestRecord) -> list[ServiceEvent]:
    events = [ServiceEvent(moment, record.tenant, OUTPUT_COST) for moment in record.token_times_ms]
    if not events:
        return []
    return [ServiceEvent(events[0].at_ms, record.tenant, PROMPT_COST * record.prompt_tokens), *events]


def _served_tokens(records: Sequence[RequestRecord], tenant: str) -> int:
    served = [record for record in records if record.tenant == tenant and record.token_times_ms]
    return sum(record.prompt_tokens + len(record.token_times_ms) for record in served)


def _ratio(totals: Mapping[str, float], tenant: TenantShare, weights: float) -> Measured:
    service = sum(totals.values())
    if not service or not tenant.weight:
        return Unknown("nothing was served" if not service else "the tenant has no weight")
    return (totals[tenant.name] / service) / (tenant.weight / weights)


def _waits(records: Sequence[RequestRecord], tenant: str) -> list[Span]:
    """Return when requests waited: until their first token, or, where they never got one, until they were over."""
    ends = ((record, _first_answer_ms(record)) for record in records if record.tenant == tenant)
    return sorted((record.arrived_ms, end) for record, end in ends if end is not None)


def _first_answer_ms(record: RequestRecord) -> float | None:
    return record.token_times_ms[0] if record.token_times_ms else record.ended_ms


def _merged(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _overlaps(first: Sequence[Span], second: Sequence[Span]) -> list[Span]:
    pairs = ((max(a[0], b[0]), min(a[1], b[1])) for a in first for b in second)
    return [(start, end) for start, end in pairs if start < end]


def _drift(events: Sequence[ServiceEvent], span: Span, signed_weights: Mapping[str, float]) -> float:
    position = low = high = 0.0
    for event in events:
        if event.tenant in signed_weights and span[0] <= event.at_ms <= span[1]:
            position += event.service / signed_weights[event.tenant]
            low, high = min(low, position), max(high, position)
    return high - low
