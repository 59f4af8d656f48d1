"""The timeline: one lane per request, coloured by the worker that produced each token, the reclaim across all lanes."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tierline.telemetry.records import Placement, Reclaim, RequestRecord
from tierline_cli.report.contents import ReportContents
from tierline_cli.report.style import ALARM, ALARM_FILL, INK, MUTED, WAITING, tier_colours, worker_colours

_LANE_INCHES = 0.135
_FRAME_INCHES = 1.1


def timeline(contents: ReportContents) -> Figure:
    """Draw all requests, grouped by tier in the order of priority, by arrival within a tier."""
    lanes = _lanes(contents)
    figure = Figure(figsize=(10.4, _FRAME_INCHES + _LANE_INCHES * max(len(lanes), 8)), layout="constrained")
    axes = figure.subplots()
    colours = worker_colours(contents.workers)
    for reclaim in contents.facts.reclaims:
        _mark_reclaim(axes, reclaim)
    for lane, record in enumerate(lanes):
        _draw_lane(axes, lane, record, colours)
    _label_tiers(axes, lanes, contents)
    axes.set_ylim(len(lanes) - 0.3, -1.8)
    axes.set_xlim(0, contents.facts.duration_ms / 1000)
    axes.set_xlabel("seconds since the start of the workload")
    axes.grid(axis="y", visible=False)
    _legend(figure, colours)
    return figure


def _lanes(contents: ReportContents) -> list[RequestRecord]:
    ranks = {tier.name: -tier.priority for tier in contents.facts.tiers}
    return sorted(contents.records, key=lambda record: (ranks[record.tier], record.tier, record.arrived_ms))


def _draw_lane(axes: Axes, lane: int, record: RequestRecord, colours: Mapping[str, str]) -> None:
    first = record.token_times_ms[0] if record.token_times_ms else record.arrived_ms
    axes.hlines(lane, record.arrived_ms / 1000, first / 1000, color=WAITING, linewidth=1.2)
    for placement in record.placements:
        tokens = [at for at in record.token_times_ms if placement.started_ms <= at <= placement.ended_ms]
        if tokens:
            axes.hlines(
                lane, tokens[0] / 1000, tokens[-1] / 1000, color=colours[placement.worker], alpha=0.35, linewidth=4
            )
            _ticks(axes, lane, tokens, colours[placement.worker])
    for before, after in zip(record.placements, record.placements[1:], strict=False):
        _mark_move(axes, lane, record, before, after)
    if not record.token_times_ms:
        axes.plot([first / 1000], [lane], marker="x", color=ALARM, markersize=4)


def _ticks(axes: Axes, lane: int, tokens: Sequence[float], colour: str) -> None:
    axes.vlines([at / 1000 for at in tokens], lane - 0.36, lane + 0.36, color=colour, linewidth=0.9)


def _mark_move(axes: Axes, lane: int, record: RequestRecord, before: Placement, after: Placement) -> None:
    last = max((at for at in record.token_times_ms if at <= before.ended_ms), default=before.ended_ms)
    following = min((at for at in record.token_times_ms if at >= after.started_ms), default=after.started_ms)
    axes.hlines(lane, last / 1000, following / 1000, color=INK, linewidth=1.0, linestyle=(0, (1, 1)))
    axes.plot([last / 1000], [lane], marker="o", color=INK, markersize=3.4)
    axes.plot([following / 1000], [lane], marker=">", color=INK, markersize=4.2)


def _mark_reclaim(axes: Axes, reclaim: Reclaim) -> None:
    noticed, gone = reclaim.noticed_ms / 1000, reclaim.gone_ms / 1000
    axes.axvspan(noticed, gone, color=ALARM_FILL, zorder=0, linewidth=0)
    axes.axvline(gone, color=ALARM, linewidth=1.2)
    axes.annotate(
        f"spot notice: {reclaim.node}", (noticed, -1.0), xytext=(3, 0), textcoords="offset points", color=ALARM,
        fontsize=8, va="center",
    )  # fmt: skip
    axes.annotate(
        "node gone", (gone, -1.0), xytext=(3, 0), textcoords="offset points", color=ALARM, fontsize=8, va="center"
    )


def _label_tiers(axes: Axes, lanes: Sequence[RequestRecord], contents: ReportContents) -> None:
    colours = tier_colours(tier.name for tier in contents.facts.tiers)
    positions, names = [], []
    for tier in dict.fromkeys(record.tier for record in lanes):
        rows = [lane for lane, record in enumerate(lanes) if record.tier == tier]
        positions.append((rows[0] + rows[-1]) / 2)
        names.append(tier)
        axes.axhspan(rows[0] - 0.5, rows[-1] + 0.5, xmin=0, xmax=0.004, color=colours[tier], linewidth=0)
        axes.axhline(rows[-1] + 0.5, color=WAITING, linewidth=0.5)
    axes.set_yticks(positions, names, rotation=90, va="center", fontsize=9)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(colours[name])
    axes.tick_params(axis="y", length=0)


def _legend(figure: Figure, colours: Mapping[str, str]) -> None:
    marks: list[Patch | Line2D] = [Patch(color=colour, label=worker) for worker, colour in colours.items()]
    marks.append(Line2D([], [], color=WAITING, linewidth=1.5, label="waiting for the first token"))
    marks.append(Line2D([], [], color=INK, marker=">", linestyle=":", markersize=4, label="moved to another worker"))
    figure.legend(handles=marks, loc="outside upper left", ncols=3, fontsize=8, labelcolor=MUTED)
