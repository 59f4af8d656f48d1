"""The scorecard is readable on 80 columns."""

import io
from dataclasses import replace

from rich.console import Console
from synthetic_run import synthetic_run

from tierline.telemetry.records import ClusterFacts, Outcome, RequestRecord
from tierline.telemetry.scorecard import build_scorecard
from tierline_cli.screen import scorecard_view

Run = tuple[tuple[RequestRecord, ...], ClusterFacts]


def shown(width: int, run: Run | None = None) -> str:
    records, facts = run or synthetic_run()
    console = Console(file=io.StringIO(), width=width)
    console.print(scorecard_view(build_scorecard(records, facts), {tier.name: tier for tier in facts.tiers}))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_it_fits_and_says_the_essentials() -> None:
    text = shown(80)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for word in ("interactive", "acme", "1 reclaimed, 0 tokens lost, 0 doubled", "100.0% of tokens"):
        assert word in text


def test_what_was_never_served_is_infinitely_late() -> None:
    records, facts = synthetic_run()
    refused = tuple(replace(each, outcome=Outcome.REJECTED, token_times_ms=()) for each in records)
    text = shown(80, (refused, facts))
    assert "∞ [" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
