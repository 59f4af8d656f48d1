"""One play of a scenario's requests against a gateway, and what it was worth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tierline.sim.scenario import Scenario
from tierline.sim.workload import PlannedRequest
from tierline.telemetry.goodput import met
from tierline.telemetry.percentiles import nearest_rank
from tierline.telemetry.records import ClusterFacts, Outcome, RequestRecord, TenantShare, TierTarget
from tierline.telemetry.scorecard import build_scorecard
from tierline_cli.bench.scenario.served import MODEL
from tierline_cli.demo.client import Observation, TenantClients
from tierline_cli.demo.clock import RunClock
from tierline_cli.demo.load import send_all


@dataclass(frozen=True, slots=True)
class Play:
    """One measured play: `title` says which; `requests_per_second_in_time` is the goodput over the time of arrivals."""

    title: str
    records: tuple[RequestRecord, ...]
    facts: ClusterFacts
    arrivals_seconds: float

    @property
    def requests_per_second_in_time(self) -> float:
        targets = {tier.name: tier for tier in self.facts.tiers}
        return sum(met(record, targets[record.tier]) for record in self.records) / self.arrivals_seconds

    def tenant(self, name: str) -> dict[str, float | None]:
        """Return a tenant's TTFT and TPOT at p50, p95 and p99, of what was served."""
        mine = [record for record in self.records if record.tenant == name and record.outcome is Outcome.OK]
        return _percentiles("ttft_ms", [each.ttft_ms for each in mine]) | _percentiles(
            "tpot_ms", [each.tpot_ms for each in mine]
        )

    def not_served(self) -> list[dict[str, Any]]:
        """Return for each request that was not served when it came, and what its client was told."""
        missing = [record for record in self.records if record.outcome is not Outcome.OK]
        return [
            {"at_ms": round(each.arrived_ms), "tenant": each.tenant, "tier": each.tier, "told": each.detail}
            for each in missing
        ]

    def document(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "requests_per_second": round(len(self.records) / self.arrivals_seconds, 3),
            "requests_per_second_in_time": round(self.requests_per_second_in_time, 3),
            "not_served": self.not_served(),
            "tenants": {tenant.name: self.tenant(tenant.name) for tenant in self.facts.tenants},
            "scorecard": build_scorecard(self.records, self.facts).document(),
        }


def _percentiles(name: str, values: Sequence[float | None]) -> dict[str, float | None]:
    known = sorted(value for value in values if value is not None)
    return {f"{name}_p{p}": round(nearest_rank(known, p), 1) if known else None for p in (50, 95, 99)}


async def play(
    title: str,
    scenario: Scenario,
    targets: tuple[TierTarget, ...],
    requests: Sequence[PlannedRequest],
    base_url: str,
) -> Play:
    """Send every request at its time, wait for all answers, and return what came of them."""
    clock = RunClock()
    clients = TenantClients(base_url, MODEL, {tenant.name: tenant.name for tenant in scenario.tenants}, clock)
    try:
        seen = await send_all(clients, requests, clock)
    finally:
        await clients.close()
    facts = ClusterFacts(
        duration_ms=clock.now_ms(),
        tiers=targets,
        tenants=tuple(TenantShare(tenant.name, tenant.weight) for tenant in scenario.tenants),
    )
    return Play(title, tuple(map(record_of, range(len(seen)), seen)), facts, scenario.seconds)


def record_of(number: int, seen: Observation) -> RequestRecord:
    """Return the record of what a client saw; an answer that ends early has lost the rest."""
    lost = seen.planned.output_tokens - len(seen.token_ids) if seen.outcome is Outcome.OK else 0
    return RequestRecord(
        request_id=f"{number}",
        tenant=seen.planned.tenant,
        tier=seen.planned.tier,
        arrived_ms=seen.sent_ms,
        prompt_tokens=seen.prompt_tokens or seen.planned.prompt_tokens,
        demanded_tokens=seen.planned.output_tokens,
        outcome=seen.outcome,
        token_times_ms=tuple(seen.token_times_ms),
        lost_tokens=max(lost, 0),
        doubled_tokens=max(-lost, 0),
        detail=seen.detail,
        ended_ms=seen.ended_ms,
    )


def at_load(requests: Sequence[PlannedRequest], percent: float, seconds: float) -> list[PlannedRequest]:
    """Return the same requests closer together or further apart, as many as come within `seconds`.

    Above 100 % the plan must be long enough: plan for `seconds` times the highest load.
    """
    moved = [replace(request, at_ms=request.at_ms * 100 / percent) for request in requests]
    return [request for request in moved if request.at_ms < seconds * 1000]


def longest_plan_seconds(seconds: float, percents: Sequence[float]) -> float:
    """Return for how long requests must be planned so that each load finds enough of them."""
    return math.ceil(seconds * max(percents) / 100)
