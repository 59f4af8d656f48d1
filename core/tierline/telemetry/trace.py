"""What a gateway saw of a request, without content: one line of a trace, as JSON.

Traces of several gateways may be joined by putting their lines into one file, since times are epoch seconds.
"""

import msgspec

COMPLETE = frozenset({"stop", "length"})
"""Outcomes of answers that came to their own end, so that their length is the one that was asked for."""


class TraceRow(msgspec.Struct, frozen=True):
    """One request. `tier` is what it asked for, `output_tokens` what it got, `max_tokens` what it allowed."""

    arrival_seconds: float
    tenant: str
    tier: str
    prompt_tokens: int
    output_tokens: int
    max_tokens: int
    outcome: str
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    moves: int = 0
    model: str = ""
    served_tier: str = ""
    billing_tier: str = ""

    @property
    def complete(self) -> bool:
        return self.outcome in COMPLETE and self.output_tokens > 0
