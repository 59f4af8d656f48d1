"""What `tierline bench drills` sums up."""

import json

import pytest

from tierline_cli.bench.drills.command import DrillBenchOptions, run_drill_bench, summary
from tierline_cli.errors import CommandFailed


def run(kind, passed, recovery, seconds, message=""):
    told = {"recovery_seconds": recovery, "seconds": seconds, "message": message}
    return {"kind": kind, "passed": passed, **told}


def test_runs_are_summed_up_by_kind_and_what_was_not_kept_is_told():
    runs = [run("WorkerKill", True, 2, 3.5), run("WorkerKill", False, None, 20.0, "Too slow."), run("B", True, 1, 1.0)]
    assert summary(runs)["WorkerKill"] == {
        "runs": 2,
        "passed": 1,
        "recovery_seconds": {"p50": 2, "max": 2},
        "seconds": {"p50": 3.5, "max": 20.0},
        "not_kept": ["Too slow."],
    }
    assert json.loads(json.dumps(summary(runs)))["B"]["passed"] == 1


def test_a_kind_that_is_not_known_is_refused(tmp_path):
    options = DrillBenchOptions(tmp_path / "x.json", tmp_path, tmp_path, kinds=("Flood",))
    with pytest.raises(CommandFailed, match="--kind 'Flood' is not known: use one of WorkerKill, SpotReclaim"):
        run_drill_bench(options, None)
