"""`tierline explain fleet|scale|placement NAME`: the leading operator's account of a fleet, printed."""

import json
from collections.abc import Iterator
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tierline.api.names import OPERATOR_HTTP_PORT
from tierline_cli.errors import CommandFailed
from tierline_cli.live.asking import Question, find_account
from tierline_cli.live.pods import Port, UrlPort, ports_of

COMPONENT = "operator"

Part = Literal["fleet", "scale", "placement"]


def operator_ports(url: str) -> list[Port]:
    """Return the port at `url`, or without one those of the operator's replicas; raises `CommandFailed`."""
    if url:
        return [UrlPort(url)]
    found: list[Port] = [*ports_of(COMPONENT, OPERATOR_HTTP_PORT, "", "", of_fleets=False)]
    if not found:
        raise CommandFailed("no operator pod was found; name --operator URL")
    return found


def explain_fleet(part: Part, namespace: str, name: str, ports: list[Port], *, as_json: bool, console: Console) -> None:
    """Print one part of the account that the leading operator has; raises `CommandFailed` when none has."""
    account = find_account(about_fleet(namespace, name), ports)
    if as_json:
        console.print_json(json.dumps(account if part == "fleet" else account[part]))
    else:
        console.print(planning_view(part, f"{namespace}/{name}", account))


def about_fleet(namespace: str, name: str) -> Question:
    return Question(COMPONENT, f"fleet {namespace}/{name}", f"/debug/planning/{namespace}/{name}")


def planning_view(part: Part, title: str, account: dict[str, Any]) -> RenderableType:
    """Return an account, or one part of it, to read."""
    parts = {"fleet": _conditions, "scale": _scale, "placement": _placement}
    return Group(Text(f"Fleet {title}", style="bold"), *parts[part](account))


def _conditions(account: dict[str, Any]) -> Iterator[RenderableType]:
    for it in account["conditions"]:
        yield f"  {it['type']}={it['status']} ({it['reason']}): {it['message']}"


def _scale(account: dict[str, Any]) -> Iterator[RenderableType]:
    scale = account["scale"]
    if scale["per_second"] is None:
        yield f"  no figures: {next((it['message'] for it in account['conditions'] if it['type'] == 'Scaled'), '')}"
        return
    yield (
        f"  {scale['per_second']:.2f} requests/s came, {scale['queued']:.0f} wait; sized for "
        f"{scale['demand_per_second']:.2f}/s; pressure {scale['pressure']:.2f} of 1 (from {scale['source']})"
    )
    table = _table("pool", "replicas", "before", "needed", "one carries", "at most", "why")
    for it in scale["pools"]:
        cap = "-" if it["cap"] is None else str(it["cap"])
        one = f"{it['rate_of_one']:.2f}/s"
        table.add_row(it["name"], str(it["replicas"]), str(it["before"]), str(it["need"]), one, cap, it["reason"])
    yield table
    for it in scale["turns"]:
        yield f"  {it['pool']} may have {it['most']} until its turn comes, after {it['after']}: accelerators are short"
    for it in scale["starts"]:
        yield f"  a worker of {it['pool']} serves within {_start(it)}"
    if scale["role_flips"]:
        yield f"  {scale['role_flips']} workers change their role"


def _start(it: dict[str, Any]) -> str:
    weights = "a node with room has the weights" if it["warm"] else "the weights have to be fetched"
    learned = f"mean {it['mean_seconds']:.1f} s of {it['samples']} starts" if it["samples"] else "not seen yet: a guess"
    return f"{it['bound_seconds']:.1f} s ({learned}; {weights})"


def _placement(account: dict[str, Any]) -> Iterator[RenderableType]:
    workers = _table("pool", "supply", "zone", "accelerator", "node", "state")
    for it in account["placement"]["workers"]:
        waits = f"waits for {it['waiting_ms'] / 1000:.0f} s" if it["waiting_ms"] else "starts"
        state = "ready" if it["ready"] else waits
        workers.add_row(it["pool"], it["supply"], it["zone"], it["accelerator"], it["node"] or "-", state)
    yield workers
    markets = _table("spot zone", "accelerator", "cents/h", "on demand", "reclaims/h", "state")
    for it in account["placement"]["markets"]:
        prices = (str(it["spot_cents_per_hour"]), str(it["on_demand_cents_per_hour"]))
        state = "active" if it["active"] else "asked last"
        markets.add_row(it["zone"], it["accelerator"], *prices, f"{it['interruptions_per_hour']:.2f}", state)
    yield markets


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 2))
    for heading in headings:
        table.add_column(heading)
    return table
