"""`tierline simulate` as its user meets it."""

import json
import re
from pathlib import Path

import pytest
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


def compared(folder: Path, loads: str) -> tuple[str, str]:
    page, document = folder / "c.html", folder / "c.json"
    policies = ["--policy", "fcfs-chunked, tierline,tierline", "--html", str(page), "--json", str(document)]
    result = CliRunner().invoke(app, ["simulate", scenario(folder), *policies, "--load", loads])
    assert result.exit_code == 0, result.output
    return page.read_text(), document.read_text()


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return compared(tmp_path_factory.mktemp("first"), "50,150")


def test_a_comparison_holds_the_same_requests_at_each_load(comparison: tuple[str, str]) -> None:
    policies = json.loads(comparison[1])["policies"]
    assert {name: [point["load"] for point in each["loads"]] for name, each in policies.items()} == {
        "fcfs-chunked": [0.5, 1.0, 1.5],
        "tierline": [0.5, 1.0, 1.5],
    }
    counts = [each["run"]["scorecard"]["requests"]["total"] for each in policies.values()]
    assert counts[0] == counts[1] > 0


def test_a_comparison_is_the_same_each_time(comparison: tuple[str, str], tmp_path: Path) -> None:
    assert compared(tmp_path, "150,50") == comparison


def test_the_page_of_a_comparison_needs_no_network(comparison: tuple[str, str]) -> None:
    page, _ = comparison
    assert page.count("<svg") == 6
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    for name in ("fcfs-chunked", "tierline", "Attainment over load"):
        assert name in page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--load", "50"], "name several with --policy"),
        (["--html", "x.html"], "name several with --policy"),
        (["--compare", "--load", "fast"], "must be percents"),
        (["--compare", "--load", "0"], "above 0"),
        (["--policy", "tierline,best"], "--policy 'best' is not known"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["simulate", scenario(tmp_path), *options], env={"COLUMNS": "300"})
    assert result.exit_code == 1
    assert said in result.output


def traced(folder: Path, rows: str, text: str = SCENARIO) -> tuple[int, str]:
    trace = folder / "day.csv"
    trace.write_text(rows)
    result = CliRunner().invoke(
        app, ["simulate", scenario(folder, text), "--trace", str(trace)], env={"COLUMNS": "200"}
    )
    return result.exit_code, " ".join(result.output.split())


def test_a_trace_is_sent_instead_of_the_scenarios_traffic(tmp_path: Path) -> None:
    rows = "arrival_seconds,prompt_tokens,output_tokens\n0,10,3\n0.5,20,4\n"
    document = tmp_path / "r.json"
    trace = tmp_path / "day.csv"
    trace.write_text(rows)
    arguments = ["simulate", scenario(tmp_path), "--trace", str(trace), "--json", str(document)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert json.loads(document.read_text())["scorecard"]["requests"]["total"] == 2


def test_a_wrong_trace_is_told_which_column_and_what_to_do(tmp_path: Path) -> None:
    two = SCENARIO.replace("[{name: a}]", "[{name: a}, {name: b}]")
    code, said = traced(tmp_path, "arrival_seconds,prompt_tokens,output_tokens\n0,1,1\n", two)
    assert (code, "no column 'tenant': add one that names for each row one of a, b" in said) == (1, True)
    code, said = traced(tmp_path, "arrival_seconds,prompt_tokens\n0,1\n")
    assert (code, "no column 'output_tokens'" in said) == (1, True)
    code, said = traced(tmp_path, "arrival_seconds,tenant,prompt_tokens,output_tokens\n0,z,1,1\n", two)
    assert (code, "tenants must list z" in said) == (1, True)
    assert traced(tmp_path, "arrival_seconds,tenant,prompt_tokens,output_tokens\n0,b,1,1\n", two)[0] == 0
