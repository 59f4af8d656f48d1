"""What happened to requests, live and lately done, for people and for the audits of demo and benchmarks."""

from array import array
from collections import OrderedDict
from typing import Any

from tierline.wire.states import FinishReason
from tierline_gateway.streams.live import LiveRequest

REMEMBERED = 4096
REMEMBERED_REFUSALS = 1024
REMEMBERED_TOKENS = 2_000_000


class RequestLog:
    """The last requests by id, as many as `remembered` and their `remembered_tokens` allow.

    Refusals are remembered apart, so that a flood of them does not push out what was served.
    """

    def __init__(self, remembered: int = REMEMBERED, remembered_tokens: int = REMEMBERED_TOKENS) -> None:
        self._served = _Shelf(remembered, remembered_tokens)
        self._refused = _Shelf(min(remembered, REMEMBERED_REFUSALS), 0)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._served.records or request_id in self._refused.records

    def add(self, live: LiveRequest, outcome: str) -> None:
        """Remember a finished request, forgetting the oldest of its kind."""
        refused = live.life.finish_reason is FinishReason.REFUSED and not live.journal.emitted_ids
        record = _details(live)
        # Four bytes an id instead of an object each: this is by far the most of what is kept.
        record["emitted_ids"], record["outcome"] = array("I", live.journal.emitted_ids), outcome
        (self._refused if refused else self._served).add(live.request_id, record)

    def get(self, request_id: str) -> dict[str, Any] | None:
        record = self._served.records.get(request_id) or self._refused.records.get(request_id)
        return None if record is None else record | {"emitted_ids": list(record["emitted_ids"])}


class _Shelf:
    """Records in the order they came; the newest stays, however large it is."""

    def __init__(self, most_records: int, most_tokens: int) -> None:
        self.records: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._most_records = most_records
        self._most_tokens = most_tokens
        self._tokens = 0

    def add(self, request_id: str, record: dict[str, Any]) -> None:
        self.records[request_id] = record
        self._tokens += len(record["emitted_ids"])
        while len(self.records) > 1 and (len(self.records) > self._most_records or self._tokens > self._most_tokens):
            _, oldest = self.records.popitem(last=False)
            self._tokens -= len(oldest["emitted_ids"])


def summary(live: LiveRequest) -> dict[str, Any]:
    """One line of the list of live requests."""
    return {
        "request_id": live.request_id,
        "tenant": live.tenant.tenant,
        "billing_tier": live.tenant.billing_tier,
        "tier": live.tier.name,
        "model": live.generation.model,
        "fleet": live.fleet,
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
    return _details(live) | {"emitted_ids": list(live.journal.emitted_ids)}


def _details(live: LiveRequest) -> dict[str, Any]:
    delivery = live.delivery
    delivered = bool(delivery.tokens)
    return {
        **summary(live),
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
        "recomputed_tokens": live.journal.recomputed_tokens,
        "duplicates_dropped": live.journal.duplicates_dropped,
    }
