"""The demo's small parts: examples, traffic, prompts, metrics, steps."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from tierline_cli.demo.examples import load_examples
from tierline_cli.demo.prompts import prompt_text
from tierline_cli.demo.sampling import read_metrics
from tierline_cli.demo.traffic import demo_workload
from tierline_cli.errors import CommandFailed
from tierline_cli.steps import Steps

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_examples_give_three_tenants_with_keys_on_three_tiers() -> None:
    examples = load_examples(EXAMPLES, "default")
    assert [tier.name for tier in examples.tiers] == ["interactive", "standard", "batch"]
    assert len(examples.api_keys) == 3
    assert examples.fleet == "smollm2"


def test_a_folder_without_examples_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="holds no YAML file"):
        load_examples(tmp_path, "default")


def test_a_tenant_without_a_key_is_told(tmp_path: Path) -> None:
    for path in EXAMPLES.glob("*.yaml"):
        if path.name != "2-secrets.yaml":
            (tmp_path / path.name).write_text(path.read_text())
    with pytest.raises(CommandFailed, match="no Secret among the examples"):
        load_examples(tmp_path, "default")


@pytest.mark.parametrize("seed", range(5))
def test_the_workload_uses_every_tier_and_ends_in_time(seed: int) -> None:
    workload = demo_workload(load_examples(EXAMPLES, "default"), 45, seed)
    assert 28 <= len(workload) <= 80
    assert {request.tier for request in workload} == {"interactive", "standard", "batch"}
    assert workload[-1].at_ms < 40_000


def test_prompts_have_about_the_wanted_length_and_differ() -> None:
    assert len(prompt_text(135, 1).split()) == 100
    assert prompt_text(1, 0).endswith("?")
    assert len({prompt_text(60, number) for number in range(20)}) == 20


def test_metrics_are_read_by_name() -> None:
    reading = read_metrics('# TYPE a_b gauge\na_b{model_name="m"} 3\n# TYPE c counter\nc_total{x="y"} 4\n')
    assert reading == {"a_b": 3.0, "c_total": 4.0}


def test_steps_are_plain_lines_without_a_terminal() -> None:
    console = Console(file=io.StringIO(), width=100)
    steps = Steps(console, 2)
    with steps.step("first"):
        steps.tell("detail")
    with pytest.raises(ValueError), steps.step("second"):
        raise ValueError
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0] == "  [1/2] first ..."
    assert lines[1].strip() == "detail"
    assert lines[2].startswith("✓ [1/2] first")
    assert lines[4].startswith("✗ [2/2] second failed after")
