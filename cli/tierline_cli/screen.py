"""The scorecard on a terminal of 80 columns."""

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tierline.telemetry.percentiles import NEVER_SERVED
from tierline.telemetry.records import TierTarget
from tierline.telemetry.scorecard import Scorecard


def scorecard_view(scorecard: Scorecard, targets: Mapping[str, TierTarget]) -> RenderableType:
    """Return tiers against targets, tenants, and the figures of the run."""
    card = scorecard.document()
    return Group(_tiers(card, targets), _tenants(card), _facts(card))


def _tiers(card: dict[str, Any], targets: Mapping[str, TierTarget]) -> Table:
    title = "Tiers, milliseconds (limit in brackets; ∞: too many were never served)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("tier", style="bold")
    for heading in ("n", "TTFT p50", "p95", "TPOT p50", "p95", "met", "goodput"):
        table.add_column(heading, justify="right")
    for name, score in card["tiers"].items():
        target = targets[name]
        table.add_row(
            name,
            str(score["ttft_ms"]["n"]),
            _number(score["ttft_ms"]["p50"]),
            _limited(score["ttft_ms"], target.ttft_ms),
            _number(score["tpot_ms"]["p50"]),
            _limited(score["tpot_ms"], target.tpot_ms),
            _percent(score["attainment"]),
            _percent(score["goodput"]),
        )
    return table


def _tenants(card: dict[str, Any]) -> Table:
    table = Table(title="Tenants", title_justify="left", box=None, pad_edge=False)
    table.add_column("tenant", style="bold")
    for heading in ("served tokens", "weight", "service/weight share"):
        table.add_column(heading, justify="right")
    for name, tenant in card["tenants"].items():
        ratio = _number(tenant["service_ratio"], 2)
        table.add_row(name, _number(tenant["served_tokens"]), _number(tenant["weight"]), ratio)
    return table


def _facts(card: dict[str, Any]) -> Table:
    table = Table(title="Run", title_justify="left", box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    requests, spot, goodput = card["requests"], card["spot"], card["goodput"]
    table.add_row("requests", ", ".join(f"{count} {name}" for name, count in requests.items()))
    table.add_row("goodput", f"{_percent(goodput['tokens'])} of tokens, {_percent(goodput['requests'])} of requests")
    table.add_row("throughput", f"{_number(card['throughput']['output_tokens_per_second'], 1)} output tokens/s")
    table.add_row("spot", _spot(spot))
    table.add_row("stall by a move", _stall(spot))
    table.add_row(
        "cost", f"${_number(card['cost']['dollars_per_million_goodput_tokens'], 2)} per million tokens in time"
    )
    return table


def _spot(spot: dict[str, Any]) -> Text:
    clean = not spot["tokens_lost"] and not spot["tokens_doubled"] and not spot["requests_failed"]
    return Text(
        f"{spot['interruptions']} reclaimed, {spot['tokens_lost']} tokens lost, {spot['tokens_doubled']} doubled, "
        f"{spot['tokens_recomputed']} recomputed",
        style="green" if clean else "bold red",
    )


def _stall(spot: dict[str, Any]) -> str:
    p99 = spot["added_stall_ms_p99"]
    return f"p99 {_number(p99)} ms" if p99 is not None else str(spot["added_stall_ms_p99_reason"])


def _limited(figures: dict[str, Any], limit: float | None) -> Text:
    """Return the p95 beside its limit; one that requests reach which were never served is infinite."""
    p95 = math.inf if figures.get("p95_reason") == NEVER_SERVED else figures["p95"]
    if p95 is None or limit is None:
        return Text(_number(p95))
    return Text(f"{_number(p95)} [{_number(limit)}]", style="green" if p95 <= limit else "red")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def _number(value: float | None, decimals: int = 0) -> str:
    if value is None:
        return "-"
    return "∞" if math.isinf(value) else f"{value:,.{decimals}f}"
