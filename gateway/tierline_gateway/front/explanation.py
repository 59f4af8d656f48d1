"""One request's decisions as a document: figures, rules, verdicts; no content. Times are ms after its arrival."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import msgspec

from tierline.scheduling.queueing.standing import Standing, why_before
from tierline.scheduling.routing.route_account import Route, candidates, rule
from tierline_gateway.streams.decisions import Admission, Decisions, Start

LAST_BEFORE = 20
MOST_CANDIDATES = 32


def explanation(details: dict[str, Any], decisions: Decisions, served: Iterable[Start]) -> dict[str, Any]:
    """Return the account; `details` is what the request log says, `served` are all dispatches that are remembered."""
    arrival_ms, order = details["arrival_ms"], list(served)
    content_free = {key: value for key, value in details.items() if key not in {"emitted_ids", "arrival_ms"}}
    for name in ("first_token_ms", "last_token_ms"):
        value = content_free.get(name)
        content_free[name] = None if value is None else round(value - arrival_ms, 3)
    admission, tried = decisions.admission, decisions.tried
    waits = tried is not None and not tried.chosen
    return {
        "request": content_free,
        "admission": _admission(admission, arrival_ms) if admission is not None else None,
        "dispatches": [_dispatch(start, order, arrival_ms) for start in decisions.starts],
        "waits_for": _route(tried) if waits and tried is not None else None,
    }


def _admission(admission: Admission, arrival_ms: float) -> dict[str, Any]:
    decision = admission.decision
    grounds = msgspec.structs.asdict(decision.grounds) if decision.grounds is not None else {}
    return {
        "at_ms": round(admission.at_ms - arrival_ms, 3),
        "verdict": str(decision.verdict),
        "reason": decision.reason,
        "retry_after_ms": decision.retry_after_ms,
        "asked_tier": admission.asked_tier,
        "tier": admission.tier,
        "queue_requests": admission.queue_requests,
        "grounds": grounds,
        "quota": asdict(admission.quota),
    }


def _dispatch(start: Start, order: list[Start], arrival_ms: float) -> dict[str, Any]:
    standing = start.standing
    return {
        "at_ms": round(standing.now_ms - arrival_ms, 3),
        "order": _standing(standing),
        "before": _before(standing, order, arrival_ms),
        "route": _route(start.route),
    }


def _standing(standing: Standing) -> dict[str, Any]:
    queued = standing.queued
    return {
        "turn": str(standing.turn),
        "tier": queued.tier,
        "priority": queued.priority,
        "counter": standing.counter,
        "lowest_counter": standing.lowest,
        "allowed_difference": queued.service_difference_tokens,
        "eligible": standing.eligible,
        "slack_ms": round(standing.slack_ms, 3),
        "predicted_prefill_ms": round(queued.prefill_ms, 3),
        "user_priority": queued.user_priority,
        "waiting": standing.waiting,
        "waiting_in_band": standing.waiting_band,
    }


def _before(mine: Standing, order: list[Start], arrival_ms: float) -> dict[str, Any]:
    """Return what was served while this request waited, and why."""
    others = [start for start in order if arrival_ms <= start.standing.now_ms <= mine.now_ms]
    at = next((at for at, start in enumerate(others) if start.standing is mine), len(others))
    passed = [(start.standing, why_before(start.standing, mine)) for start in others[:at]]
    last = [
        {
            "request_id": other.queued.request_id,
            "tenant": other.queued.tenant,
            "tier": other.queued.tier,
            "at_ms": round(other.now_ms - arrival_ms, 3),
            "why": str(cause),
        }
        for other, cause in passed[-LAST_BEFORE:]
    ]
    return {"requests": len(passed), "why": dict(Counter(str(cause) for _, cause in passed)), "last": last}


def _route(route: Route) -> dict[str, Any]:
    weighed = candidates(route)
    need = route.need
    return {
        "chosen": route.chosen,
        "rule": rule(route),
        "context_tokens": need.context_tokens,
        "expected_tokens": need.expected_tokens,
        "tpot_budget_ms": need.tpot_budget_ms,
        "candidates": [asdict(one) for one in weighed[:MOST_CANDIDATES]],
        "candidates_left_out": max(len(weighed) - MOST_CANDIDATES, 0),
    }
