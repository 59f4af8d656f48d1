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


class InvalidRecording(ValueError):
    """A file that is no workload; the message names the file, the line, the column and the fix."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Which part of which file is sent, to which tier. `tenant` is None where each row names its own.

    `speed` above 1 sends the same requests in less time.
    """

    path: Path
    tier: str
    tenant: str | None = None
    from_seconds: float = 0.0
    speed: float = 1.0


def read_recording(recording: Recording, seconds: float) -> tuple[PlannedRequest, ...]:
    """Return what arrives within `seconds` of the simulation; raises `InvalidRecording`."""
    reader = csv.DictReader(io.StringIO(_text(recording.path)))
    _check_columns(recording, reader.fieldnames or ())
    planned = [_planned(recording, reader.line_num, row) for row in reader]
    return tuple(request for request in planned if 0 <= request.at_ms < seconds * 1000)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidRecording(f"{path} cannot be read ({error}): name a CSV file, plain or gzipped") from error


def _check_columns(recording: Recording, columns: Sequence[str]) -> None:
    needed = REQUIRED_COLUMNS if recording.tenant is not None else (*REQUIRED_COLUMNS, TENANT_COLUMN)
    for name in needed:
        if name not in columns:
            raise InvalidRecording(f"{recording.path} has no column {name!r}: it needs {', '.join(needed)}")


def _planned(recording: Recording, line: int, row: dict[str, str]) -> PlannedRequest:
    arrival_seconds = _number(recording.path, line, row, "arrival_seconds")
    return PlannedRequest(
        at_ms=(arrival_seconds - recording.from_seconds) / recording.speed * 1000,
        tenant=recording.tenant if recording.tenant is not None else row[TENANT_COLUMN],
        tier=recording.tier,
        prompt_tokens=_tokens(recording.path, line, row, "prompt_tokens"),
        output_tokens=_tokens(recording.path, line, row, "output_tokens"),
    )


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
