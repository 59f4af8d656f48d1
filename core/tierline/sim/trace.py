"""A day that gateways recorded (`/debug/trace`), as a workload: replayed against other tiers, quotas or fleets.

An answer that did not come to its own end (refused, cancelled, failed) did not show its length; it gets the median of
its tenant and tier, else of all (design of the scorecard's demand), never more than it allowed.
"""

import gzip
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec

from tierline.sim.recorded import InvalidRecording
from tierline.sim.workload import PlannedRequest
from tierline.telemetry.trace import TraceRow

_DECODER = msgspec.json.Decoder(TraceRow)


def read_trace(path: Path, from_seconds: float, speed: float, seconds: float) -> tuple[PlannedRequest, ...]:
    """Return what arrived within `seconds` of the simulation, its first request at 0; raises `InvalidRecording`."""
    rows = sorted(_rows(path), key=lambda row: row.arrival_seconds)
    if not rows:
        return ()
    began_s = rows[0].arrival_seconds + from_seconds
    lengths = _Lengths(rows)
    planned = (_planned(row, lengths.of(row), began_s, speed) for row in rows)
    return tuple(request for request in planned if 0 <= request.at_ms < seconds * 1000)


def _planned(row: TraceRow, output_tokens: int, began_s: float, speed: float) -> PlannedRequest:
    return PlannedRequest(
        at_ms=(row.arrival_seconds - began_s) / speed * 1000,
        tenant=row.tenant,
        tier=row.tier,
        prompt_tokens=max(row.prompt_tokens, 1),
        output_tokens=output_tokens,
        max_tokens=max(row.max_tokens, output_tokens),
    )


class _Lengths:
    """How long answers became, or would have."""

    def __init__(self, rows: Sequence[TraceRow]) -> None:
        seen: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row in rows:
            if row.complete:
                seen[row.tenant, row.tier].append(row.output_tokens)
        self._medians = {group: int(median(tokens)) for group, tokens in seen.items()}
        self._overall = int(median([tokens for group in seen.values() for tokens in group])) if seen else 1

    def of(self, row: TraceRow) -> int:
        if row.complete:
            return row.output_tokens
        likely = max(self._medians.get((row.tenant, row.tier), self._overall), row.output_tokens, 1)
        return min(likely, row.max_tokens) if row.max_tokens > 0 else likely


def _rows(path: Path) -> list[TraceRow]:
    try:
        raw = path.read_bytes()
        lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines()
    except (OSError, EOFError) as error:
        raise InvalidRecording(f"{path} cannot be read ({error}): name a trace, plain or gzipped") from error
    return [_row(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _row(path: Path, number: int, line: bytes) -> TraceRow:
    try:
        return _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidRecording(f"{path} line {number}: {error}; each line is what /debug/trace writes") from None
