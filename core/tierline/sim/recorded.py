"""Recorded workloads: a CSV of arrivals and lengths, plain or gzipped."""

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tierline.sim.workload import PlannedRequest

REQUIRED_COLUMNS = ("arrival_seconds", "prompt_tokens", "output_tokens")
TENANT_COLUMN = "tenant"
TIER_COLUMN = "tier"


class InvalidRecording(ValueError):
    """A file that is no workload; the message names the file, the line, the column and the fix."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Which part of which file is sent, to which tier. `tier` and `tenant` are None where each row names its own.

    `speed` above 1 sends the same requests in less time.
    """

    path: Path
    tier: str | None = None
    tenant: str | None = None
    from_seconds: float = 0.0
    speed: float = 1.0


def read_recording(recording: Recording, seconds: float) -> tuple[PlannedRequest, ...]:
    """Return what arrives within `seconds` of the simulation; raises `InvalidRecording`."""
    reader = csv.DictReader(io.StringIO(_text(recording.path)))
    _check_columns(recording, reader.fieldnames or ())
    planned = [_planned(recording, reader.line_num, row) for row in reader]
    return tuple(request for request in planned if 0 <= request.at_ms < seconds * 1000)


def columns_of(path: Path) -> frozenset[str]:
    """Return the columns that a CSV names in its first line; raises `InvalidRecording`."""
    return frozenset(csv.DictReader(io.StringIO(_text(path))).fieldnames or ())


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidRecording(f"{path} cannot be read ({error}): name a CSV file, plain or gzipped") from error


def _check_columns(recording: Recording, columns: Sequence[str]) -> None:
    own = ((recording.tenant, TENANT_COLUMN), (recording.tier, TIER_COLUMN))
    needed = (*REQUIRED_COLUMNS, *(column for known, column in own if known is None))
    for name in needed:
        if name not in columns:
            raise InvalidRecording(f"{recording.path} has no column {name!r}: it needs {', '.join(needed)}")


def _planned(recording: Recording, line: int, row: dict[str, str]) -> PlannedRequest:
    arrival_seconds = _number(recording.path, line, row, "arrival_seconds")
    return PlannedRequest(
        at_ms=(arrival_seconds - recording.from_seconds) / recording.speed * 1000,
        tenant=recording.tenant if recording.tenant is not None else _name(recording.path, line, row, TENANT_COLUMN),
        tier=recording.tier if recording.tier is not None else _name(recording.path, line, row, TIER_COLUMN),
        prompt_tokens=_tokens(recording.path, line, row, "prompt_tokens"),
        output_tokens=_tokens(recording.path, line, row, "output_tokens"),
    )


def _name(path: Path, line: int, row: dict[str, str], column: str) -> str:
    name = (row[column] or "").strip()
    if not name:
        raise InvalidRecording(f"{path} line {line}: {column} is empty: name one of the scenario's")
    return name


def _tokens(path: Path, line: int, row: dict[str, str], column: str) -> int:
    tokens = int(_number(path, line, row, column))
    if tokens < 1:
        raise InvalidRecording(f"{path} line {line}: {column} is {tokens}, must be at least 1")
    return tokens


def _number(path: Path, line: int, row: dict[str, str], column: str) -> float:
    try:
        return float(row[column])
    except (TypeError, ValueError):
        raise InvalidRecording(f"{path} line {line}: {column} is {row[column]!r}, must be a number") from None
