"""Plots that set policies side by side; one colour per policy everywhere, the oracle dashed."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from tierline.sim.comparison import Comparison, LoadPoint
from tierline.telemetry.records import RequestRecord, TierTarget
from tierline.telemetry.series import cdf, service
from tierline_cli.report.style import FAINT, MUTED, policy_colours, policy_line, tier_colours

Latency = Callable[[RequestRecord], float | None]
Limit = Callable[[TierTarget], float | None]

_WIDTH_INCHES = 10.4
_ROW_INCHES = 2.8
_MOST_COLUMNS = 3


def attainment(comparison: Comparison) -> Figure:
    """Draw for each tier the share of its requests that met it over the load, the tier's goal dashed."""
    tiers = tiers_of(comparison)
    figure, panels = _panels(len(tiers), sharey=True)
    for axes, tier in zip(panels, tiers, strict=True):
        for name, points in comparison.points.items():
            shares = [100 * point.attainment[tier.name] for point in points]
            axes.plot(_percents(points), shares, marker="o", markersize=3, **policy_line(name))
        axes.axhline(tier.attainment_percent, color=MUTED, linestyle=(0, (4, 3)), linewidth=0.9)
        axes.set(title=tier.name, ylim=(-2, 103), xlabel="load, % of the scenario's")
    panels[0].set_ylabel("requests that met the tier, %")
    _legend(figure, panels[0])
    return figure


def goodput(comparison: Comparison) -> Figure:
    """Draw requests a second in time, and the share of demanded tokens that came in time, over the load."""
    figure, (left, right) = _panels(2)
    for name, points in comparison.points.items():
        line = policy_line(name)
        left.plot(_percents(points), [point.in_time_per_second for point in points], marker="o", markersize=3, **line)
        right.plot(_percents(points), [100 * point.tokens for point in points], marker="o", markersize=3, **line)
    left.set(xlabel="load, % of the scenario's", ylabel="requests in time per second", ylim=(0, None))
    right.set(xlabel="load, % of the scenario's", ylabel="tokens in time of tokens demanded, %", ylim=(-2, 103))
    _legend(figure, left)
    return figure


def first_tokens(comparison: Comparison) -> Figure:
    """Draw the distribution of TTFT per tier, the limit dashed; who got no token never reaches the top."""
    return _distributions(comparison, lambda record: record.ttft_ms, lambda tier: tier.ttft_ms, "time to first token")


def paces(comparison: Comparison) -> Figure:
    """Draw the distribution of TPOT per tier, the limit dashed."""
    return _distributions(comparison, lambda record: record.tpot_ms, lambda tier: tier.tpot_ms, "time per output token")


def shares(comparison: Comparison) -> Figure:
    """Draw each tenant's share of service over its share of weight, and how far service drifted apart."""
    figure, (left, right) = _panels(2)
    names, colours = [*comparison.results], policy_colours(comparison.results)
    tenants = [tenant.name for tenant in comparison.scenario.tenants]
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        ratios = [comparison.scorecards[name].tenants[tenant].service_ratio for tenant in tenants]
        values = [ratio if isinstance(ratio, float) else 0.0 for ratio in ratios]
        left.barh([at + index * height for at in range(len(tenants))], values, 0.9 * height, color=colours[name])
    left.axvline(1.0, color=MUTED, linestyle=(0, (4, 3)), linewidth=0.9)
    left.set_yticks([at + 0.4 - height / 2 for at in range(len(tenants))], tenants)
    left.invert_yaxis()
    left.set_xlabel("share of service over share of weight")
    differences = [_difference(comparison, name) for name in names]
    right.barh(names, differences, 0.6, color=[colours[name] for name in names])
    right.invert_yaxis()
    right.set_xlabel("largest difference of weighted service, tokens")
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
    return figure


def service_over_time(comparison: Comparison) -> Figure:
    """Draw for each policy what its tenants had got up to each moment."""
    figure, panels = _panels(len(comparison.results), sharey=True)
    colours = tier_colours(tenant.name for tenant in comparison.scenario.tenants)
    for axes, (name, result) in zip(panels, comparison.results.items(), strict=True):
        for tenant, colour in colours.items():
            curve = service(result.records, tenant, 1.0)
            axes.step([at / 1000 for at in curve.x], [value / 1000 for value in curve.y], color=colour, label=tenant)
        axes.axvspan(0, comparison.scenario.seconds, color=FAINT, alpha=0.35, zorder=0, linewidth=0)
        axes.set(title=name, xlabel="seconds", ylim=(0, None), xlim=(0, None))
    panels[0].set_ylabel("service, thousand tokens")
    _legend(figure, panels[0])
    return figure


def _distributions(comparison: Comparison, latency: Latency, limit: Limit, label: str) -> Figure:
    tiers = tiers_of(comparison)
    figure, panels = _panels(len(tiers), sharey=True)
    for axes, tier in zip(panels, tiers, strict=True):
        for name, result in comparison.results.items():
            _distribution(axes, [record for record in result.records if record.tier == tier.name], latency, name)
            axes.lines[-1].set(**policy_line(name))
        target = limit(tier)
        if target is not None:
            axes.axvline(target, color=MUTED, linestyle=(0, (4, 3)), linewidth=0.9)
        axes.set(title=tier.name, xlabel=f"{label}, ms", ylim=(0, 1.03), xscale="log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("share of all requests")
    _legend(figure, panels[0])
    return figure


def _distribution(axes: Axes, records: list[RequestRecord], latency: Latency, name: str) -> None:
    curve = cdf(value for record in records if (value := latency(record)) is not None)
    known = len([record for record in records if latency(record) is not None]) / max(len(records), 1)
    axes.step(curve.x, [share * known for share in curve.y], where="post", label=name)


def _difference(comparison: Comparison, name: str) -> float:
    measured = comparison.scorecards[name].fairness.max_service_difference_tokens
    return measured if isinstance(measured, float | int) else 0.0


def tiers_of(comparison: Comparison) -> tuple[TierTarget, ...]:
    """Return the tiers, the highest priority first."""
    tiers = next(iter(comparison.results.values())).facts.tiers
    return tuple(sorted(tiers, key=lambda tier: -tier.priority))


def _percents(points: tuple[LoadPoint, ...]) -> list[float]:
    return [100 * point.load for point in points]


def _panels(count: int, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    columns = min(count, _MOST_COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(_WIDTH_INCHES, _ROW_INCHES * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    panels = [axes for line in grid for axes in line]
    for unused in panels[count:]:
        unused.set_axis_off()
    return figure, panels[:count]


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=6, fontsize=8)
