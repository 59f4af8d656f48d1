"""What a demo leaves behind: the scorecard on screen and as JSON, the report, the raw records."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console

from tierline.telemetry.records import RequestRecord
from tierline.telemetry.scorecard import Scorecard, build_scorecard
from tierline_cli.demo.examples import Examples
from tierline_cli.demo.experiment import Findings
from tierline_cli.demo.options import NODES, NOTICE_SECONDS
from tierline_cli.demo.verdict import problems_of
from tierline_cli.report.contents import ReportContents
from tierline_cli.report.page import write_report
from tierline_cli.screen import scorecard_view

NOTES = (
    "A stream counts as mid-decode at the notice when the gateway's journal then showed it running on the worker, with "
    "tokens delivered and tokens to come.",
    "Lost and doubled tokens are found by comparing each stream's ids with the length it demanded (EOS is ignored), "
    "with the count the gateway reports, with its journal, and, for moved streams, with an undisturbed greedy run of "
    "the same prompt afterwards.",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found, and whether the demo passes."""

    scorecard: Scorecard
    problems: tuple[str, ...]


def write_outcome(findings: Findings, examples: Examples, kubernetes: str, folder: Path) -> Outcome:
    """Write scorecard.json, requests.jsonl and report.html to `folder` and return the verdict."""
    scorecard = build_scorecard(findings.records, findings.facts)
    problems = problems_of(scorecard, findings.evidence, findings.reclaim)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "scorecard.json", scorecard)
    (folder / "requests.jsonl").write_bytes(b"".join(map(_line, findings.records)))
    contents = ReportContents(
        title="Demo",
        records=findings.records,
        facts=findings.facts,
        scorecard=scorecard,
        problems=problems,
        notes=NOTES,
        environment=_environment(examples, kubernetes),
    )
    write_report(contents, folder / "report.html")
    return Outcome(scorecard, problems)


def show_outcome(outcome: Outcome, examples: Examples, folder: Path, console: Console) -> None:
    """Print the scorecard and where the files are."""
    console.print()
    console.print(scorecard_view(outcome.scorecard, {tier.name: tier for tier in examples.tiers}))
    console.print(f"\nscorecard: {folder / 'scorecard.json'}\nreport:    {folder / 'report.html'}", highlight=False)


def _write_json(path: Path, scorecard: Scorecard) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(scorecard.document()), indent=2) + b"\n")


def _line(record: RequestRecord) -> bytes:
    return msgspec.json.encode(record) + b"\n"


def _environment(examples: Examples, kubernetes: str) -> dict[str, str]:
    spot = sum(node.capacity_type == "spot" for node in NODES)
    return {
        "Model": f"{examples.model} ({examples.model_source})",
        "Cluster": f"Kubernetes {kubernetes}, {len(NODES)} virtual nodes on one machine, {spot} of them spot",
        "Spot notice": f"{NOTICE_SECONDS} s before the node's processes are killed",
        "Machine": f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}",
    }
