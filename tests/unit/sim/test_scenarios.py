"""Scenarios: what may stand in one, and what a wrong one is told."""

import copy
import gzip
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tierline.sim.recorded import InvalidRecording, Recording, read_recording
from tierline.sim.scenario import InvalidScenario, load_scenario, parse_scenario

EXAMPLES = Path(__file__).parents[3] / "examples" / "scenarios"


def example() -> dict:
    return yaml.safe_load((EXAMPLES / "three-tiers.yaml").read_text())


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_scenarios_named_as_their_files(path) -> None:
    assert load_scenario(path).name == path.stem


def changed(*steps: str | int, to: object) -> dict:
    document = copy.deepcopy(example())
    place = document
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = to
    return document


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (changed("seconds", to=0), "seconds is wrong: Input should be greater than 0"),
        (changed("second", to=5), "second is not known here"),
        (changed("traffic", 1, "tier", to="gold"), "traffic[1].tier 'gold' is not among tiers: interactive"),
        (changed("traffic", 1, "tenant", to="nobody"), "traffic[1].tenant 'nobody' is not among tenants"),
        (changed("traffic", 1, "preset", to="azure"), "traffic[1].preset must be one of azure-code"),
        (changed("traffic", 0, "endSeconds", to=-1.0), "traffic[0].endSeconds"),
        (changed("traffic", 0, "maxTokens", to=0), "traffic[0].maxTokens"),
        (changed("traffic", 1, "csv", to="x.csv"), "traffic[1].preset or csv or trace is required, and only one"),
        (changed("traffic", 1, "requestsPerSecond", to=-1), "traffic[1].requestsPerSecond"),
        (changed("faults", 0, "worker", to=3), "faults[0].worker must be at most 2"),
        (changed("tenants", 1, "name", to="acme"), "tenants[1].name 'acme' is there twice"),
        (changed("workers", "engine", "kvCacheBlocks", to=5), "workers.engine.maxModelTokens must fit"),
        (changed("workers", "latency", "iterationMs", to=0), "workers.latency.iterationMs must be above 0"),
        (changed("tiers", 0, "spec", "objective", to="Speed"), "tiers[0].spec.objective must be 'Latency'"),
        (["a list"], "must be an object"),
    ],
)
def test_a_wrong_scenario_is_told_which_field(document, said: str) -> None:
    with pytest.raises(InvalidScenario) as caught:
        parse_scenario(document, "s.yaml")
    assert said in str(caught.value)


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("a: [")
    with pytest.raises(InvalidScenario, match=r"s\.yaml cannot be read"):
        load_scenario(path)


def recording(tmp_path: Path, text: str, **options: object) -> Recording:
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return Recording(path, "t", **options)


def test_a_recording_is_cut_and_sped_up(tmp_path: Path) -> None:
    rows = "arrival_seconds,tenant,prompt_tokens,output_tokens\n0,a,1,2\n10,a,3,4\n14,b,5,6\n90,b,7,8\n"
    planned = read_recording(recording(tmp_path, rows, from_seconds=10.0, speed=2.0), seconds=30)
    assert [(one.at_ms, one.tenant, one.prompt_tokens, one.output_tokens) for one in planned] == [
        (0, "a", 3, 4),
        (2000, "b", 5, 6),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arrival_seconds,prompt_tokens\n", "no column 'output_tokens'"),
        ("arrival_seconds,prompt_tokens,output_tokens\n", "no column 'tenant'"),
        ("arrival_seconds,tenant,prompt_tokens,output_tokens\n0,a,x,1\n", "line 2: prompt_tokens is 'x'"),
        ("arrival_seconds,tenant,prompt_tokens,output_tokens\n0,a,1,0\n", "line 2: output_tokens is 0"),
    ],
)
def test_a_wrong_recording_is_told_where(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidRecording, match=said.replace("(", r"\(")):
        read_recording(recording(tmp_path, text), seconds=30)


def test_rows_of_a_recording_may_name_their_tiers(tmp_path: Path) -> None:
    rows = "arrival_seconds,tier,prompt_tokens,output_tokens\n0,gold,1,2\n1,tin,3,4\n"
    known = recording(tmp_path, rows, tenant="a")
    planned = read_recording(replace(known, tier=None), seconds=30)
    assert [(one.tenant, one.tier) for one in planned] == [("a", "gold"), ("a", "tin")]
    assert {one.tier for one in read_recording(known, seconds=30)} == {"t"}
    with pytest.raises(InvalidRecording, match="line 2: tier is empty"):
        read_recording(replace(recording(tmp_path, rows.replace("gold", ""), tenant="a"), tier=None), seconds=30)


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecording, match=r"none\.csv cannot be read"):
        read_recording(Recording(tmp_path / "none.csv", "t"), seconds=1)
