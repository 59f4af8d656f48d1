"""Why a fleet has the size and the places that it has, as plain JSON: the figures behind the last look's decisions."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tierline.fleet.placement.market import Supply
from tierline.fleet.placement.planner import PlacedPod
from tierline.fleet.scaling.load import FleetLoad, TierLoad
from tierline.fleet.scaling.planner import ScalingPlan
from tierline.fleet.scaling.turns import Turn
from tierline.fleet.verdicts import Verdict
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.capacity.starting import ExpectedStart


@dataclass(frozen=True, slots=True)
class FleetAccount:
    """One fleet at the last look. `load` and `plan` are None while nobody tells, or while others scale."""

    at_ms: int
    source: str
    verdicts: tuple[Verdict, ...]
    load: FleetLoad | None = None
    plan: ScalingPlan | None = None
    caps: Mapping[str, int] = field(default_factory=dict)
    workers: Mapping[str, tuple[PlacedPod, ...]] = field(default_factory=dict)
    starts: Mapping[str, ExpectedStart] = field(default_factory=dict)
    turns: Mapping[str, Turn] = field(default_factory=dict)


def told(account: FleetAccount, book: CapacityBook) -> dict[str, Any]:
    """Return the account as JSON values."""
    return {
        "at_ms": account.at_ms,
        "conditions": [_condition(it) for it in account.verdicts],
        "scale": _scale(account),
        "placement": {"workers": _workers(account), "markets": _markets(book, account.at_ms)},
    }


def _condition(verdict: Verdict) -> dict[str, str]:
    return {"type": verdict.type, "status": verdict.status, "reason": verdict.reason, "message": verdict.message}


def _scale(account: FleetAccount) -> dict[str, Any]:
    plan, load = account.plan, account.load
    return {
        "source": account.source,
        "per_second": load.per_second if load else None,
        "queued": load.queued if load else None,
        "tiers": [_tier(tier) for tier in load.tiers] if load else [],
        "demand_per_second": plan.forecast_per_second if plan else None,
        "pressure": plan.pressure if plan else None,
        "turns": [{"pool": name, **asdict(it)} for name, it in sorted(account.turns.items())],
        "role_flips": plan.flips if plan else 0,
        "lead_seconds": load.cold_start_seconds if load else None,
        "starts": [_start(name, it) for name, it in sorted(account.starts.items())],
        "pools": [{**asdict(it), "cap": account.caps.get(it.name)} for it in plan.decisions] if plan else [],
    }


def _start(pool: str, start: ExpectedStart) -> dict[str, Any]:
    return {
        "pool": pool,
        "warm": start.warm,
        "bound_seconds": start.time.bound_seconds,
        "mean_seconds": start.time.mean_seconds,
        "deviation_seconds": start.time.deviation_seconds,
        "samples": start.time.samples,
    }


def _tier(tier: TierLoad) -> dict[str, Any]:
    shape = tier.shape
    return {
        "tier": tier.tier,
        "per_second": tier.per_second,
        "queued": tier.queued,
        "prompt_tokens": shape.prompt_tokens if shape else None,
        "output_tokens": shape.output_tokens if shape else None,
        "ttft_pressure": tier.ttft_pressure,
        "tpot_pressure": tier.tpot_pressure,
    }


def _workers(account: FleetAccount) -> list[dict[str, Any]]:
    return [
        {
            "pool": pool,
            "supply": worker.supply.value if worker.supply else "any",
            "zone": worker.market.zone,
            "accelerator": worker.market.accelerator,
            "node": worker.node,
            "ready": worker.ready,
            "waiting_ms": worker.waiting_ms,
        }
        for pool, workers in sorted(account.workers.items())
        for worker in workers
    ]


def _markets(book: CapacityBook, now_ms: int) -> list[dict[str, Any]]:
    history = book.history
    return [
        {
            "zone": market.zone,
            "accelerator": market.accelerator,
            "spot_cents_per_hour": book.prices.cents_per_hour(Supply.SPOT, market),
            "on_demand_cents_per_hour": book.prices.cents_per_hour(Supply.ON_DEMAND, market),
            "interruptions_per_hour": record.interruptions_per_hour,
            "active": market in history.active([market], now_ms),
        }
        for market, record in sorted(history.records.items())
    ]
