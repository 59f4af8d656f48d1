"""Figures as elements of a page."""

import io
import re
from collections.abc import Callable, Mapping

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from tierline_cli.report.style import PLOT_SETTINGS


def drawn(plots: Mapping[str, Callable[[], Figure]]) -> dict[str, Markup]:
    """Draw each figure in the report's style."""
    with mpl.rc_context(PLOT_SETTINGS):
        return {name: _svg(name, draw()) for name, draw in plots.items()}


def _svg(name: str, figure: Figure) -> Markup:
    """Return the figure as an element that scales with the page; ids are made unique within it."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return Markup(svg)  # noqa: S704 - matplotlib escapes the text that it draws
