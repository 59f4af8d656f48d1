"""`tierline simulate` as its user meets it."""

import json
from pathlib import Path

from typer.testing import CliRunner

from tierline_cli.main import app

SCENARIO = """
name: tiny
seconds: 2
tiers: [{name: t, spec: {objective: Latency, priority: 1}}]
tenants: [{name: a}]
workers:
  count: 1
  engine: {kvCacheBlocks: 512, maxModelTokens: 8192}
  latency: {iterationMs: 5, prefillTokenMs: 0.02, attentionPairMs: 0, decodeMs: 0.02, kvTokenMs: 0}
traffic: [{tenant: a, tier: t, preset: lmsys-chat, requestsPerSecond: 3}]
"""


def scenario(tmp_path: Path, text: str = SCENARIO) -> str:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return str(path)


def test_it_prints_a_scorecard_and_writes_json(tmp_path: Path) -> None:
    out = tmp_path / "out" / "result.json"
    result = CliRunner().invoke(app, ["simulate", scenario(tmp_path), "--seed", "3", "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert "tiny under tierline, seed 3" in result.output
    document = json.loads(out.read_text())
    assert (document["policy"], document["seed"], document["schema_version"]) == ("tierline", 3, 1)
    assert document["scorecard"]["requests"]["failed"] == 0


def test_a_wrong_policy_and_a_wrong_scenario_exit_with_one(tmp_path: Path) -> None:
    wrong_policy = CliRunner().invoke(app, ["simulate", scenario(tmp_path), "--policy", "best"])
    wrong_file = CliRunner().invoke(app, ["simulate", scenario(tmp_path, SCENARIO.replace("seconds: 2", ""))])
    assert (wrong_policy.exit_code, wrong_file.exit_code) == (1, 1)
    assert "fcfs-chunked" in wrong_policy.output
    assert "seconds is required" in wrong_file.output
