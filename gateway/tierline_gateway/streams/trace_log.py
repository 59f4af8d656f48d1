"""The last requests as a trace, to be replayed offline: lengths, times, outcomes; no content."""

import time
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from tierline.telemetry.trace import TraceRow
from tierline_gateway.streams.live import LiveRequest

REMEMBERED = 50_000
"""Some 20 MB; a longer day is fetched in pieces, by `since`."""


class TraceLog:
    """A ring of rows. `epoch_s` tells the time of day, which joins the traces of several gateways."""

    def __init__(self, most_rows: int = REMEMBERED, epoch_s: Callable[[], float] = time.time) -> None:
        self._rows: deque[TraceRow] = deque(maxlen=most_rows)
        self._epoch_s = epoch_s

    def add(self, live: LiveRequest, outcome: str, now_ms: float) -> None:
        """Remember a request that is over; further choices of its answer are requests of a trace, too."""
        delivery = live.delivery
        row = TraceRow(
            arrival_seconds=round(self._epoch_s() - (now_ms - live.arrival_ms) / 1000, 6),
            tenant=live.tenant.tenant,
            tier=live.decisions.asked_tier or live.tier.name,
            prompt_tokens=len(live.journal.prompt_ids),
            output_tokens=len(live.journal.emitted_ids),
            max_tokens=live.journal.sampling.max_tokens,
            outcome=outcome,
            ttft_ms=delivery.first_ms - live.arrival_ms if delivery.tokens else None,
            tpot_ms=delivery.tpot_ms(),
            moves=len(live.moves),
            model=live.generation.model,
            served_tier=live.tier.name,
            billing_tier=live.tenant.billing_tier,
        )
        self._rows.append(row)

    def lines(self, since_s: float = 0.0) -> Iterator[bytes]:
        """Return what arrived after `since_s`, a JSON object a line, in the order of the ends."""
        rows = tuple(self._rows)
        return (msgspec.json.encode(row) + b"\n" for row in rows if row.arrival_seconds > since_s)
