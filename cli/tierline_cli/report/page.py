"""The report's page: one HTML file with its plots inside, readable without a network."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from tierline_cli.report.contents import ReportContents
from tierline_cli.report.plots import latencies, load, tenants
from tierline_cli.report.style import PLOT_SETTINGS, tier_colours, worker_colours
from tierline_cli.report.timeline import timeline

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("tierline_cli.report", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_report(contents: ReportContents, path: Path) -> None:
    """Write the report to `path`."""
    path.write_text(render(contents), encoding="utf-8")


def render(contents: ReportContents) -> str:
    """Return the page."""
    document = contents.scorecard.document()
    return _TEMPLATES.get_template("report.html.j2").render(
        contents=contents,
        card=document,
        unknowns=list(unknowns(document)),
        tier_colours=tier_colours(tier.name for tier in contents.facts.tiers),
        worker_colours=worker_colours(contents.workers),
        moved=[record for record in contents.records if record.interrupted],
        mid_decode=sum(len(reclaim.streams) for reclaim in contents.facts.reclaims),
        figures=_figures(contents),
    )


def unknowns(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the reason of every null in a scorecard document."""
    for key, value in document.items():
        if isinstance(value, dict):
            yield from unknowns(value, f"{prefix}{key}.")
        elif value is None:
            yield f"{prefix}{key}", document[f"{key}_reason"]


def _figures(contents: ReportContents) -> dict[str, Markup]:
    with mpl.rc_context(PLOT_SETTINGS):
        plots = {"timeline": timeline, "latencies": latencies, "load": load, "tenants": tenants}
        return {name: _svg(name, draw(contents)) for name, draw in plots.items()}


def _svg(name: str, figure: Figure) -> Markup:
    """Return the figure as an element that scales with the page; ids are made unique within it."""
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return Markup(svg)  # noqa: S704 - matplotlib escapes the text that it draws
