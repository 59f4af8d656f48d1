"""The scorecard is readable on 80 columns."""

import io

from rich.console import Console
from synthetic_run import synthetic_run

from tierline.telemetry.scorecard import build_scorecard
from tierline_cli.screen import scorecard_view


def shown(width: int) -> str:
    records, facts = synthetic_run()
    console = Console(file=io.StringIO(), width=width)
    console.print(scorecard_view(build_scorecard(records, facts), {tier.name: tier for tier in facts.tiers}))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_it_fits_and_says_the_essentials() -> None:
    text = shown(80)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for word in ("interactive", "acme", "1 reclaimed, 0 tokens lost, 0 doubled", "100.0% of tokens"):
        assert word in text
