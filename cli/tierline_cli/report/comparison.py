"""The page that sets policies side by side: one HTML file with its plots inside, readable without a network."""

from functools import partial
from pathlib import Path

from tierline.sim.comparison import Comparison
from tierline.sim.ladder import LADDER
from tierline_cli.report import comparison_plots as plots
from tierline_cli.report.style import policy_colours
from tierline_cli.report.svg import drawn
from tierline_cli.report.templates_of import TEMPLATES


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the page to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_comparison(comparison), encoding="utf-8")


def render_comparison(comparison: Comparison) -> str:
    """Return the page."""
    figures = {
        "attainment": plots.attainment,
        "goodput": plots.goodput,
        "ttft": plots.first_tokens,
        "tpot": plots.paces,
        "shares": plots.shares,
        "service": plots.service_over_time,
    }
    own = {name: next(point for point in points if point.load == 1.0) for name, points in comparison.points.items()}
    return TEMPLATES.get_template("comparison.html.j2").render(
        comparison=comparison,
        scenario=comparison.scenario,
        tiers=plots.tiers_of(comparison),
        cards={name: card.document() for name, card in comparison.scorecards.items()},
        points=own,
        best=max(own, key=lambda name: own[name].requests),
        abouts={name: LADDER[name].about for name in comparison.results},
        colours=policy_colours(comparison.results),
        loads=[point.load for point in next(iter(comparison.points.values()))],
        figures=drawn({name: partial(draw, comparison) for name, draw in figures.items()}),
    )
