"""What fleets do now, as tables on a terminal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tierline.telemetry import gateway_metrics, worker_metrics
from tierline_cli.live.readings import Change

REQUESTS = f"{gateway_metrics.REQUESTS.name}_total"
BILLED = f"{gateway_metrics.BILLED_OUTPUT.name}_total"
MOVES = f"{gateway_metrics.MOVES.name}_total"
GENERATED = f"{worker_metrics.GENERATION_TOKENS}_total"
BUSY = f"{worker_metrics.BUSY_SECONDS}_total"


@dataclass(frozen=True, slots=True)
class FleetNow:
    """One fleet's gateways together and its workers one by one; `silent` are pods that did not answer."""

    name: str
    gateways: Change
    workers: Mapping[str, Change]
    silent: tuple[str, ...] = ()


def top_view(fleets: list[FleetNow]) -> RenderableType:
    """Return the tables of all fleets."""
    return Group(*(part for fleet in fleets for part in _fleet(fleet)))


def _fleet(fleet: FleetNow) -> Iterator[RenderableType]:
    yield Text(f"Fleet {fleet.name}", style="bold")
    models = sorted(fleet.gateways.now.by(gateway_metrics.MODEL, gateway_metrics.RUNNING.name))
    if len(models) < 2:
        yield from _gateways(fleet.gateways)
    else:
        for model in models:
            yield Text(f"Model {model}", style="bold")
            yield from _gateways(fleet.gateways.of(gateway_metrics.MODEL, model))
    yield _workers(fleet.workers)
    if fleet.silent:
        yield Text(f"did not answer: {', '.join(fleet.silent)}", style="red")


def _gateways(change: Change) -> Iterator[RenderableType]:
    """Yield what gateways say of one model."""
    now = change.now
    ready = now.by("state", gateway_metrics.WORKERS.name)
    waiting, running = now.total(gateway_metrics.QUEUE_DEPTH.name), now.total(gateway_metrics.RUNNING.name)
    states = ", ".join(f"{count:.0f} {state}" for state, count in sorted(ready.items()) if count) or "none"
    moves = sum(change.per_second("cause", MOVES).values())
    yield f"{running:.0f} run, {waiting:.0f} wait; workers as gateways see them: {states}; {moves:.1f} moves/s"
    yield _tiers(change)
    yield _tenants(change)


def _tiers(change: Change) -> Table:
    table = _table("tier", ("wait", "requests/s", "TTFT p50", "p95", "TPOT p50", "p95"))
    ended = change.per_second("tier", REQUESTS)
    waiting = change.now.by("tier", gateway_metrics.QUEUE_DEPTH.name)
    for tier in sorted(ended.keys() | waiting.keys()):
        times = [
            _ms(change.quantile(share, "tier", tier, metric.name))
            for metric in (gateway_metrics.TTFT, gateway_metrics.TPOT)
            for share in (0.5, 0.95)
        ]
        table.add_row(tier, f"{waiting.get(tier, 0):.0f}", f"{ended.get(tier, 0):.1f}", *times)
    return table


def _tenants(change: Change) -> Table:
    table = _table("tenant", ("requests/s", "tokens/s", "service"))
    ended, tokens = change.per_second("tenant", REQUESTS), change.per_second("tenant", BILLED)
    service = change.now.by("tenant", gateway_metrics.SERVICE.name)
    for tenant in sorted(ended.keys() | service.keys(), key=lambda name: (-tokens.get(name, 0.0), name)):
        row = (f"{ended.get(tenant, 0):.1f}", f"{tokens.get(tenant, 0):,.0f}", f"{service.get(tenant, 0):,.0f}")
        table.add_row(tenant, *row)
    return table


def _workers(workers: Mapping[str, Change]) -> Table:
    table = _table("worker", ("run", "wait", "KV", "tokens/s", "busy"))
    for name, change in sorted(workers.items()):
        now = change.now
        table.add_row(
            name,
            f"{now.total(worker_metrics.REQUESTS_RUNNING):.0f}",
            f"{now.total(worker_metrics.REQUESTS_WAITING):.0f}",
            f"{100 * now.total(worker_metrics.KV_CACHE_USAGE):.0f}%",
            f"{sum(change.per_second('', GENERATED).values()):,.0f}",
            f"{100 * sum(change.per_second('', BUSY).values()):.0f}%",
        )
    return table


def _table(first: str, others: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first, style="bold", min_width=16)
    for heading in others:
        table.add_column(heading, justify="right", min_width=8)
    return table


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:,.0f} ms"
