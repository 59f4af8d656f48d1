"""Plots of distributions and of the run over time."""

from collections.abc import Callable, Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tierline.telemetry.records import RequestRecord, TierTarget
from tierline.telemetry.series import Curve, cdf, queued, running, service
from tierline_cli.report.contents import ReportContents
from tierline_cli.report.style import ALARM, ALARM_FILL, FAINT, INK, MUTED, tier_colours, worker_colours

Latency = Callable[[RequestRecord], float | None]
Limit = Callable[[TierTarget], float | None]

_WIDE = (10.4, 2.9)


def latencies(contents: ReportContents) -> Figure:
    """Draw the distributions of TTFT and TPOT per tier, each with its target dashed."""
    figure = Figure(figsize=_WIDE, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _distribution(left, contents, lambda record: record.ttft_ms, lambda tier: tier.ttft_ms)
    _distribution(right, contents, lambda record: record.tpot_ms, lambda tier: tier.tpot_ms)
    left.set(xlabel="time to first token, ms", ylabel="share of requests")
    right.set(xlabel="time per output token, ms")
    right.legend(loc="lower right", fontsize=8)
    return figure


def load(contents: ReportContents) -> Figure:
    """Draw requests waiting and running, and how full each worker's KV arena was, over time."""
    figure = Figure(figsize=_WIDE, layout="constrained")
    left, right = figure.subplots(1, 2)
    end_ms = contents.facts.duration_ms
    _steps(left, running(contents.records), INK, "between first and last token", end_ms)
    _steps(left, queued(contents.records), ALARM, "waiting for the first token", end_ms)
    left.set(xlabel="seconds", ylabel="requests", ylim=(0, None))
    _legend_above(left)
    _kv_use(right, contents)
    for axes in (left, right):
        _frame_time(axes, contents)
    return figure


def tenants(contents: ReportContents) -> Figure:
    """Draw each tenant's accumulated service, and its share of service against its share of weight."""
    figure = Figure(figsize=_WIDE, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    colours = tier_colours(tenant.name for tenant in contents.facts.tenants)
    for tenant in contents.facts.tenants:
        curve = service(contents.records, tenant.name, 1.0)
        _steps(left, curve, colours[tenant.name], tenant.name, contents.facts.duration_ms)
    left.set(xlabel="seconds", ylabel="service: prompt + 2 x output tokens", ylim=(0, None))
    _legend_above(left)
    _frame_time(left, contents)
    _shares(right, contents)
    return figure


def _distribution(axes: Axes, contents: ReportContents, latency: Latency, limit: Limit) -> None:
    colours = tier_colours(tier.name for tier in contents.facts.tiers)
    for tier in contents.facts.tiers:
        values = (latency(record) for record in contents.records if record.tier == tier.name)
        curve = cdf(value for value in values if value is not None)
        axes.step((0, *curve.x), (0, *curve.y), where="post", color=colours[tier.name], label=tier.name, linewidth=1.6)
        target = limit(tier)
        if target is not None:
            axes.axvline(target, color=colours[tier.name], linestyle=(0, (4, 3)), linewidth=1)
    if all(limit(tier) is not None for tier in contents.facts.tiers):
        axes.set_xscale("symlog", linthresh=100)
    axes.set(ylim=(0, 1.03))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:g}")


def _steps(axes: Axes, curve: Curve, colour: str, label: str, end_ms: float) -> None:
    seconds = [at / 1000 for at in (*curve.x, end_ms)]
    axes.step(seconds, (*curve.y, curve.y[-1]), where="post", color=colour, label=label, linewidth=1.4)


def _legend_above(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=7.5, borderaxespad=0.2, columnspacing=1.2)


def _kv_use(axes: Axes, contents: ReportContents) -> None:
    colours = worker_colours(contents.workers)
    for worker, colour in colours.items():
        points = [sample for sample in contents.facts.samples if sample.worker == worker]
        known = [
            (sample.at_ms / 1000, 100 * sample.kv_used_share) for sample in points if sample.kv_used_share is not None
        ]
        axes.plot([at for at, _ in known], [share for _, share in known], color=colour, label=worker, linewidth=1.4)
    axes.set(xlabel="seconds", ylabel="KV blocks in use, %", ylim=(0, None))
    if colours:
        _legend_above(axes)


def _frame_time(axes: Axes, contents: ReportContents) -> None:
    axes.set_xlim(0, contents.facts.duration_ms / 1000)
    for reclaim in contents.facts.reclaims:
        axes.axvspan(reclaim.noticed_ms / 1000, reclaim.gone_ms / 1000, color=ALARM_FILL, zorder=0, linewidth=0)
        axes.axvline(reclaim.gone_ms / 1000, color=ALARM, linewidth=1)


def _shares(axes: Axes, contents: ReportContents) -> None:
    scores = contents.scorecard.tenants
    colours = tier_colours(scores)
    totals = {name: service(contents.records, name, 1.0).y[-1] for name in scores}
    positions = range(len(scores))
    axes.barh([at - 0.18 for at in positions], _percent(totals.values()), 0.34, color=[*colours.values()])
    axes.barh([at + 0.18 for at in positions], _percent(score.weight for score in scores.values()), 0.34, color=FAINT)
    axes.set_yticks([*positions], [*scores])
    axes.invert_yaxis()
    axes.set_xlabel("share of service (colour) and of weight (grey), %", color=MUTED)
    axes.grid(axis="y", visible=False)


def _percent(values: Iterable[float]) -> list[float]:
    parts = list(values)
    total = sum(parts) or 1.0
    return [100 * part / total for part in parts]
