"""Colours and plot settings of the report: one colour per tier, one per worker, everywhere the same."""

from collections.abc import Iterable
from typing import Any

INK = "#1e293b"
MUTED = "#64748b"
FAINT = "#e2e8f0"
WAITING = "#cbd5e1"
ALARM = "#dc2626"
ALARM_FILL = "#fee2e2"

_TIERS = ("#2563eb", "#0d9488", "#d97706", "#7c3aed", "#be185d")
_WORKERS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f")
"""Okabe and Ito's palette, told apart with any colour vision."""

_POLICIES = {
    "fcfs-prefill-first": "#94a3b8",
    "fcfs-chunked": "#d97706",
    "edf": "#7c3aed",
    "edf+admission": "#2563eb",
    "tierline": "#15803d",
    "oracle": "#1e293b",
}

PLOT_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tierline",
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Segoe UI", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}


def tier_colours(tiers: Iterable[str]) -> dict[str, str]:
    """Return a colour per tier, in the order given."""
    return _assigned(tiers, _TIERS)


def worker_colours(workers: Iterable[str]) -> dict[str, str]:
    """Return a colour per worker, in the order given."""
    return _assigned(workers, _WORKERS)


def policy_colours(policies: Iterable[str]) -> dict[str, str]:
    """Return a colour per policy of the ladder."""
    return {name: _POLICIES[name] for name in policies}


def policy_line(name: str) -> dict[str, Any]:
    """Return how a policy's line is drawn: what is shipped stands out, the oracle is only a reference."""
    return {
        "color": _POLICIES[name],
        "label": name,
        "linewidth": 2.2 if name == "tierline" else 1.3,
        "linestyle": (0, (5, 2)) if name == "oracle" else "-",
        "zorder": 4 if name == "tierline" else 3,
    }


def _assigned(names: Iterable[str], palette: tuple[str, ...]) -> dict[str, str]:
    return {name: palette[index % len(palette)] for index, name in enumerate(names)}
