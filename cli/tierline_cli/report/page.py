"""The report's page: one HTML file with its plots inside, readable without a network."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tierline_cli.report.contents import ReportContents
from tierline_cli.report.plots import latencies, load, tenants
from tierline_cli.report.style import tier_colours, worker_colours
from tierline_cli.report.svg import drawn
from tierline_cli.report.templates_of import TEMPLATES
from tierline_cli.report.timeline import timeline

_PLOTS = {"timeline": timeline, "latencies": latencies, "load": load, "tenants": tenants}


def write_report(contents: ReportContents, path: Path) -> None:
    """Write the report to `path`."""
    path.write_text(render(contents), encoding="utf-8")


def render(contents: ReportContents) -> str:
    """Return the page."""
    document = contents.scorecard.document()
    return TEMPLATES.get_template("report.html.j2").render(
        contents=contents,
        card=document,
        unknowns=list(unknowns(document)),
        tier_colours=tier_colours(tier.name for tier in contents.facts.tiers),
        worker_colours=worker_colours(contents.workers),
        moved=[record for record in contents.records if record.interrupted],
        mid_decode=sum(len(reclaim.streams) for reclaim in contents.facts.reclaims),
        figures=drawn({name: partial(draw, contents) for name, draw in _PLOTS.items()}),
    )


def unknowns(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the reason of every null in a scorecard document."""
    for key, value in document.items():
        if isinstance(value, dict):
            yield from unknowns(value, f"{prefix}{key}.")
        elif value is None:
            yield f"{prefix}{key}", document[f"{key}_reason"]
