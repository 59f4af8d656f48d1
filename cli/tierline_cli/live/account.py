"""One request's decisions as an account to read."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tierline.scheduling.queueing.queued import UNLIMITED_DIFFERENCE_TOKENS


def account_view(account: dict[str, Any]) -> RenderableType:
    """Return the account that `/debug/explain` gave."""
    return Group(*_parts(account))


def _parts(account: dict[str, Any]) -> Iterator[RenderableType]:
    yield from _request(account["request"])
    if account["admission"] is not None:
        yield from _admission(account["admission"])
    for number, dispatch in enumerate(account["dispatches"], 1):
        yield from _dispatch(number, dispatch)
    if account["waits_for"] is not None:
        yield Text("\nWaits", style="bold")
        yield from _route(account["waits_for"])


def _request(request: dict[str, Any]) -> Iterator[RenderableType]:
    outcome = request.get("outcome") or request["state"]
    title = f"Request {request['request_id']} of tenant {request['tenant']} on tier {request['tier']}: {outcome}"
    yield Text(title, style="bold")
    prompt, emitted, limit = request["prompt_tokens"], request["emitted_tokens"], request["max_tokens"]
    yield f"  {prompt} tokens of prompt, {emitted} of {limit} generated"
    if request["ttft_ms"] is not None:
        gap = f", longest gap {_ms(request['max_gap_ms'])}" if request["max_gap_ms"] else ""
        yield f"  first token after {_ms(request['ttft_ms'])}, then {_ms(request['tpot_ms'])} per token{gap}"
    if request["error"]:
        yield f"  told its client: {request['error']}"
    for move in request["moves"]:
        target = move["to"] or "no worker yet"
        yield f"  moved after {move['at_emitted']} tokens from {move['from']} to {target}: {move['cause']}"


def _admission(admission: dict[str, Any]) -> Iterator[RenderableType]:
    lowered = "" if admission["tier"] == admission["asked_tier"] else f", lowered from {admission['asked_tier']}"
    yield Text(f"\nAdmission after {_ms(admission['at_ms'])}: {admission['verdict']}{lowered}", style="bold")
    if admission["reason"]:
        yield f"  {admission['reason']}; try again in {_ms(admission['retry_after_ms'])}"
    grounds = admission["grounds"]
    if grounds:
        yield f"  {admission['queue_requests']} waited, {grounds['ahead']:.1f} of them before it"
        yield (
            f"  predicted wait {_ms(grounds['wait_ms'])}, its targets leave {_ms(grounds['patience_ms'])}; "
            f"predicted first token {_ms(grounds['first_token_ms'])} after its start"
        )
    yield f"  quota left: {_quota(admission['quota'])}"


def _quota(quota: dict[str, Any]) -> str:
    most = quota["max_concurrent_requests"]
    running = f"{quota['concurrent_requests']} of {'any number' if most is None else most} requests running"
    left = {"tokens a minute": quota["tokens_left"], "requests a minute": quota["requests_left"]}
    return ", ".join([running, *(f"{value:,.0f} {name}" for name, value in left.items() if value is not None)])


def _dispatch(number: int, dispatch: dict[str, Any]) -> Iterator[RenderableType]:
    order, before = dispatch["order"], dispatch["before"]
    yield Text(f"\nStart {number} after {_ms(dispatch['at_ms'])}", style="bold")
    yield (
        f"  turn: {order['turn']}; {order['waiting']} waited, {order['waiting_in_band']} in its priority "
        f"{order['priority']}; slack {_ms(order['slack_ms'])}"
    )
    yield f"  tenant's counter {order['counter']:,.0f}, lowest {order['lowest_counter']:,.0f}: {_within(order)}"
    yield f"  {before['requests']} requests went before it while it waited" + (":" if before["why"] else "")
    for why, count in before["why"].items():
        yield f"    {count} x {why}"
    yield from _route(dispatch["route"])


def _within(order: dict[str, Any]) -> str:
    allowed = order["allowed_difference"]
    if allowed >= UNLIMITED_DIFFERENCE_TOKENS:
        return "any difference is allowed"
    return f"{'within' if order['eligible'] else 'over'} the difference of {allowed:,} tokens"


def _route(route: dict[str, Any]) -> Iterator[RenderableType]:
    chosen = f"worker {route['chosen']}: " if route["chosen"] else ""
    yield f"  {chosen}{route['rule']}"
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 2))
    table.add_column("candidate")
    for heading in ("first token", "pace", "cached", "backlog", "holds"):
        table.add_column(heading, justify="right")
    table.add_column("remarks")
    for one in route["candidates"]:
        table.add_row(
            Text(one["name"], style="bold" if one["name"] == route["chosen"] else ""),
            _ms(one["first_token_ms"]),
            _ms(one["pace_ms"]),
            f"{one['cached_tokens']:,}",
            f"{one['backlog_tokens']:,}",
            str(one["requests"]),
            ", ".join(_remarks(one)),
        )
    yield table
    if route["candidates_left_out"]:
        yield f"  and {route['candidates_left_out']} more"


def _remarks(one: dict[str, Any]) -> Iterator[str]:
    if one["obstacle"]:
        yield one["obstacle"]
    for flag, remark in (
        (not one["keeps_pace"], "too slow with one more"),
        (not one["has_room"], "no room for the whole answer"),
        (one["stale"], "unheard for long"),
        (one["near"], "computes the same prompt"),
        (one["avoided"], "failed it before"),
    ):
        if flag:
            yield remark


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} ms"
