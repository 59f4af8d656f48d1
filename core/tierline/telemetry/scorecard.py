"""The scorecard: one document that says what a run was worth, a pure function of what was observed.

Schema version 1. A number that cannot be known is null with the reason under `<name>_reason`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tierline.telemetry.cost import Cost, PriceTable, cost
from tierline.telemetry.fairness import TenantService, max_service_difference, tenant_services
from tierline.telemetry.goodput import Goodput, demands, goodput, tokens_in_time
from tierline.telemetry.measured import Measured, Unknown, to_document
from tierline.telemetry.percentiles import P99_MIN_SAMPLES, Percentiles, p99, percentiles
from tierline.telemetry.prompt_lengths import LengthRefusals, refusals_by_length
from tierline.telemetry.records import ClusterFacts, Outcome, RequestRecord, TierTarget
from tierline.telemetry.resources import Resources, resources
from tierline.telemetry.tail import Tail, added_stalls_ms, tail

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class TierScore:
    """How one tier's promise was kept: shares of its requests (attainment) and of its tokens (goodput)."""

    ttft_ms: Percentiles
    tpot_ms: Percentiles
    attainment: float
    goodput: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """Tokens per second over the run; the total counts prompts that were served, too."""

    output_tokens_per_second: float
    total_tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Fairness:
    """Largest difference of weighted service between tenants that competed, in VTC's unit."""

    max_service_difference_tokens: Measured


@dataclass(frozen=True, slots=True)
class SpotScore:
    """What reclaimed nodes cost the streams."""

    interruptions: int
    requests_failed: int
    tokens_lost: int
    tokens_doubled: int
    tokens_recomputed: int
    added_stall_ms_p99: Measured


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """Requests by outcome."""

    total: int
    ok: int
    rejected: int
    deferred: int
    failed: int


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The whole document; `document()` is its JSON form."""

    schema_version: int
    tiers: dict[str, TierScore]
    tail: Tail
    throughput: Throughput
    goodput: Goodput
    resources: Resources
    tenants: dict[str, TenantService]
    fairness: Fairness
    cost: Cost
    cost_assumption: str
    spot: SpotScore
    requests: RequestCounts
    refusals_by_prompt_tokens: dict[str, LengthRefusals]

    def document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        document: dict[str, Any] = to_document(self)
        return document


class UnknownName(ValueError):
    """A record names a tier or a tenant that the facts do not hold."""


def build_scorecard(
    records: Sequence[RequestRecord], facts: ClusterFacts, prices: PriceTable | None = None
) -> Scorecard:
    """Compute the scorecard of a run; raises `UnknownName` for a record of an unknown tier or tenant."""
    _check_names(records, facts)
    table = prices or PriceTable()
    targets = {tier.name: tier for tier in facts.tiers}
    demanded = demands(records)
    output = sum(len(record.token_times_ms) for record in records)
    in_time = sum(tokens_in_time(record, targets[record.tier], demanded[record.request_id]) for record in records)
    return Scorecard(
        schema_version=SCHEMA_VERSION,
        tiers={tier.name: _tier_score(records, tier, demanded) for tier in facts.tiers},
        tail=tail(records),
        throughput=_throughput(records, output, facts.duration_ms),
        goodput=goodput(records, targets, demanded),
        resources=resources(facts.samples),
        tenants=tenant_services(records, facts.tenants),
        fairness=Fairness(max_service_difference(records, facts.tenants)),
        cost=cost(facts.nodes, output, in_time, table),
        cost_assumption=table.assumption,
        spot=_spot(records, facts),
        requests=_counts(records),
        refusals_by_prompt_tokens=refusals_by_length(records),
    )


def _check_names(records: Sequence[RequestRecord], facts: ClusterFacts) -> None:
    tiers = {tier.name for tier in facts.tiers}
    tenants = {tenant.name for tenant in facts.tenants}
    for record in records:
        if record.tier not in tiers:
            raise UnknownName(f"request {record.request_id}: tier {record.tier!r} is not among {sorted(tiers)}")
        if record.tenant not in tenants:
            raise UnknownName(f"request {record.request_id}: tenant {record.tenant!r} is not among {sorted(tenants)}")


def _tier_score(records: Sequence[RequestRecord], tier: TierTarget, demanded: dict[str, int]) -> TierScore:
    mine = [record for record in records if record.tier == tier.name]
    waits = [record.ttft_ms if record.ttft_ms is not None else float("inf") for record in mine]
    paces = [record.tpot_ms for record in mine if record.tpot_ms is not None]
    shares = goodput(mine, {tier.name: tier}, demanded)
    return TierScore(percentiles(waits), percentiles(paces), shares.requests, shares.tokens)


def _throughput(records: Sequence[RequestRecord], output_tokens: int, duration_ms: float) -> Throughput:
    prompts = sum(record.prompt_tokens for record in records if record.token_times_ms)
    seconds = duration_ms / 1000
    if seconds <= 0:
        return Throughput(0.0, 0.0)
    return Throughput(output_tokens / seconds, (output_tokens + prompts) / seconds)


def _spot(records: Sequence[RequestRecord], facts: ClusterFacts) -> SpotScore:
    touched = [record for record in records if record.interrupted]
    placements = [placement for record in records for placement in record.placements]
    return SpotScore(
        interruptions=len(facts.reclaims),
        requests_failed=sum(record.outcome is Outcome.FAILED for record in touched),
        tokens_lost=sum(record.lost_tokens for record in records),
        tokens_doubled=sum(record.doubled_tokens for record in records),
        tokens_recomputed=sum(placement.recomputed_tokens for placement in placements),
        added_stall_ms_p99=_stall_p99(added_stalls_ms(touched)),
    )


def _stall_p99(stalls_ms: Sequence[float]) -> Measured:
    if stalls_ms and len(stalls_ms) < P99_MIN_SAMPLES:
        largest = round(max(stalls_ms))
        return Unknown(f"{len(stalls_ms)} moved streams, a p99 needs {P99_MIN_SAMPLES}; the largest was {largest} ms")
    return p99(stalls_ms)


def _counts(records: Sequence[RequestRecord]) -> RequestCounts:
    outcomes = [record.outcome for record in records]
    return RequestCounts(
        total=len(records),
        ok=outcomes.count(Outcome.OK),
        rejected=outcomes.count(Outcome.REJECTED),
        deferred=outcomes.count(Outcome.DEFERRED),
        failed=outcomes.count(Outcome.FAILED),
    )
