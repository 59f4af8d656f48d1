"""Traces of gateways as workloads, and what is said of broken ones."""

import gzip
from pathlib import Path

import msgspec
import pytest

from tierline.sim.recorded import InvalidRecording
from tierline.sim.scenario import InvalidScenario, parse_scenario
from tierline.sim.trace import read_trace
from tierline.telemetry.trace import TraceRow


def row(at_s: float, output: int = 10, outcome: str = "stop", tenant: str = "a", most: int = 100) -> TraceRow:
    return TraceRow(1000.0 + at_s, tenant, "gold", 50, output, most, outcome)


def written(folder: Path, *rows: TraceRow) -> Path:
    path = folder / "day.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(map(msgspec.json.encode, rows))))
    return path


def test_times_begin_with_the_first_request_of_any_gateway(tmp_path: Path) -> None:
    path = written(tmp_path, row(5), row(0), row(90))
    assert [request.at_ms for request in read_trace(path, 0.0, 1.0, 60.0)] == [0, 5000]
    assert [request.at_ms for request in read_trace(path, 4.0, 2.0, 60.0)] == [500, 43_000]


@pytest.mark.parametrize(
    ("unfinished", "tokens"),
    [
        (row(3, 0, "refused"), 30),
        (row(3, 0, "refused", tenant="stranger"), 20),
        (row(3, 0, "refused", most=7), 7),
        (row(3, 40, "cancelled"), 40),
    ],
)
def test_who_came_to_no_end_would_have_got_what_others_did(tmp_path: Path, unfinished: TraceRow, tokens: int) -> None:
    path = written(tmp_path, row(0, 30), row(1, 30), row(2, 10, tenant="b"), row(2, 10, tenant="b"), unfinished)
    assert read_trace(path, 0.0, 1.0, 60.0)[-1].output_tokens == tokens


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    path.write_bytes(msgspec.json.encode(row(0)) + b'\n{"arrival_seconds": "x"}\n')
    with pytest.raises(InvalidRecording, match=r"day\.jsonl line 2: .*arrival_seconds"):
        read_trace(path, 0.0, 1.0, 60.0)
    with pytest.raises(InvalidRecording, match="name a trace"):
        read_trace(tmp_path / "none", 0.0, 1.0, 60.0)


@pytest.mark.parametrize("source", [{"trace": "x", "tier": "gold"}, {"trace": "x", "csv": "y"}])
def test_a_source_is_one_thing(source: dict[str, str]) -> None:
    with pytest.raises(InvalidScenario, match="traffic"):
        parse_scenario({"name": "n", "seconds": 1, "traffic": [source]}, "file")
