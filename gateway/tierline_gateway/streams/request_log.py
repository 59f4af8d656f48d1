"""What happened to requests, live and lately done, for people and for the audits of demo and benchmarks."""

from collections import OrderedDict
from typing import Any

from tierline_gateway.streams.live import LiveRequest

REMEMBERED = 4096


class RequestLog:
    """The last `REMEMBERED` finished requests by id."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._done: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._done

    def add(self, live: LiveRequest, outcome: str) -> None:
        """Remember a finished request, forgetting the oldest."""
        self._done[live.request_id] = details(live) | {"outcome": outcome}
        if len(self._done) > self._remembered:
            self._done.popitem(last=False)

    def get(self, request_id: str) -> dict[str, Any] | None:
        return self._done.get(request_id)


def summary(live: LiveRequest) -> dict[str, Any]:
    """One line of the list of live requests."""
    return {
        "request_id": live.request_id,
        "tenant": live.tenant.tenant,
        "tier": live.tier.name,
        "state": str(live.life.state),
        "worker": live.worker or "",
        "epoch": live.life.epoch,
        "prompt_tokens": len(live.journal.prompt_ids),
        "emitted_tokens": len(live.journal.emitted_ids),
        "max_tokens": live.journal.sampling.max_tokens,
        "moves": len(live.moves),
    }


def without_content(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of `details` without what was generated, and how to see it."""
    return record | {"emitted_ids": None, "emitted_ids_reason": "send an API key of the tenant to see them"}


def details(live: LiveRequest) -> dict[str, Any]:
    """Everything about one request; times in gateway clock milliseconds, null where nothing was delivered."""
    delivery = live.delivery
    delivered = bool(delivery.tokens)
    return summary(live) | {
        "finish_reason": str(live.life.finish_reason) if live.life.finish_reason else None,
        "error": live.error.message if live.error else None,
        "arrival_ms": live.arrival_ms,
        "first_token_ms": delivery.first_ms if delivered else None,
        "last_token_ms": delivery.last_ms if delivered else None,
        "ttft_ms": delivery.first_ms - live.arrival_ms if delivered else None,
        "tpot_ms": delivery.tpot_ms(),
        "max_gap_ms": delivery.max_gap_ms if delivered else None,
        "delivered_tokens": delivery.tokens,
        "moves": [
            {"cause": move.cause, "from": move.source, "to": move.target, "at_emitted": move.at_emitted}
            for move in live.moves
        ],
        "last_worker": live.last_worker,
        "emitted_ids": list(live.journal.emitted_ids),
        "recomputed_tokens": live.journal.recomputed_tokens,
        "duplicates_dropped": live.journal.duplicates_dropped,
    }
