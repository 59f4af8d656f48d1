"""Every decision about a request can be asked for afterwards, with the figures it was made of."""

import asyncio
import io

import aiohttp
import openai
import pytest
from gateway_rig import policy, tenant, tier
from rich.console import Console

from tierline.wire.frames import Signals
from tierline_cli.errors import CommandFailed
from tierline_cli.live.explain import explain_request
from tierline_cli.live.pods import UrlPort
from tierline_cli.live.top import FleetPorts, Watch
from tierline_cli.live.top_view import top_view


async def explain(rig, request_id: str) -> dict:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{rig.admin_url}/debug/explain/{request_id}") as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.json()


def complete(rig, request_id: str, prompt: str = "hi", key: str = "key-acme", **headers: str):
    named = {"x-request-id": request_id} | {name.replace("_", "-"): value for name, value in headers.items()}
    return rig.client(key).completions.create(model="m", prompt=prompt, max_tokens=3, extra_headers=named)


async def test_admission_order_and_route_of_a_served_request(rig, make_worker) -> None:
    limits = tenant("acme", tokens_per_minute=1000, max_concurrent_requests=5)
    rig.source.current = policy(tenants=[limits, tenant("zeta")])
    for name in ("w0", "w1"):
        await make_worker(name)
    await complete(rig, "r1", "hello")
    account = await explain(rig, "r1")
    assert account["request"]["tenant"] == "acme"
    assert account["request"]["finish_reason"] == "length"
    assert "emitted_ids" not in account["request"]
    admission = account["admission"]
    assert (admission["verdict"], admission["asked_tier"], admission["tier"]) == (
        "Accept",
        "interactive",
        "interactive",
    )
    assert admission["grounds"]["patience_ms"] > 0
    assert admission["quota"]["concurrent_requests"] == 0
    assert admission["quota"]["tokens_left"] == pytest.approx(1000, abs=1)
    (dispatch,) = account["dispatches"]
    assert dispatch["order"]["turn"] == "Order"
    assert dispatch["order"]["eligible"]
    assert dispatch["order"]["slack_ms"] == pytest.approx(1000, abs=200)
    assert dispatch["before"] == {"requests": 0, "why": {}, "last": []}
    route = dispatch["route"]
    assert route["chosen"] == account["request"]["last_worker"]
    assert route["candidates"][0]["name"] == route["chosen"]
    assert len(route["candidates"]) == 2
    assert "believed" in route["rule"]
    assert account["waits_for"] is None


async def test_what_went_before_and_why(rig, make_worker) -> None:
    worker = await make_worker("w0", requests=1)
    worker.gate.clear()
    asked = [asyncio.create_task(complete(rig, "first"))]
    await rig.until(lambda: len(worker.submits) == 1)
    for request_id, key, named in (("low", "key-acme", "batch"), ("high", "key-zeta", "interactive")):
        asked.append(asyncio.create_task(complete(rig, request_id, key=key, x_tierline_tier=named)))
        await rig.until(lambda: len(rig.service.own.dispatcher.queue) == len(asked) - 1)
    waiting = await explain(rig, "low")
    assert waiting["dispatches"] == []
    assert waiting["waits_for"]["rule"] == "no worker could take it"
    assert waiting["waits_for"]["candidates"][0]["obstacle"] == "grants no place"
    worker.gate.set()
    await asyncio.gather(*asked)
    before = (await explain(rig, "low"))["dispatches"][0]["before"]
    assert before["why"] == {"its tier has a higher priority": 1}
    assert [one["request_id"] for one in before["last"]] == ["high"]


async def test_a_refusal_keeps_its_figures(rig, make_worker) -> None:
    rig.source.current = policy([tier("interactive", 1, max_queue_ms=2000)], [tenant("acme", tiers=("interactive",))])
    worker = await make_worker("w0", requests=0)
    rig.service.own.dispatcher.desk.rate.interval_ms = 9000.0
    first = asyncio.create_task(complete(rig, "first"))
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 1)
    with pytest.raises(openai.RateLimitError):
        await complete(rig, "refused")
    admission = (await explain(rig, "refused"))["admission"]
    assert admission["verdict"] == "Saturated"
    assert admission["queue_requests"] == 1
    assert admission["grounds"]["ahead"] == 1
    assert admission["grounds"]["wait_ms"] == 9000
    assert admission["grounds"]["patience_ms"] <= 2000
    worker.requests = 4
    await first


async def test_a_moved_stream_has_a_dispatch_for_each_worker(rig, make_worker) -> None:
    first = await make_worker("w0", period_s=0.01)
    asking = asyncio.create_task(
        rig.client().completions.create(model="m", prompt="hi", max_tokens=40, extra_headers={"x-request-id": "moved"})
    )
    await first.wait_for(lambda: any(len(ids) > 3 for _, ids in first.held.values()))
    await make_worker("w1")
    await first.kill()
    await asking
    account = await explain(rig, "moved")
    assert [dispatch["route"]["chosen"] for dispatch in account["dispatches"]] == ["w0", "w1"]
    assert account["dispatches"][1]["order"]["turn"] == "MovedStream"
    assert account["request"]["moves"][0]["to"] == "w1"


async def test_candidates_with_figures(rig, make_worker) -> None:
    workers = [await make_worker(name) for name in ("w0", "w1")]
    await rig.until(lambda: all(link.up for link in rig.service.own.links))
    for link, backlog in zip(rig.service.own.links, (0, 50_000), strict=True):
        link._latency = None
        link.hear(Signals(total_blocks=4096, backlog_tokens=backlog))
    assert len(workers) == 2
    await complete(rig, "r1")
    candidates = (await explain(rig, "r1"))["dispatches"][0]["route"]["candidates"]
    assert {one["obstacle"] for one in candidates} == {""}
    assert all(one["first_token_ms"] is None for one in candidates)


async def test_the_command_prints_the_account(rig, make_worker) -> None:
    rig.source.current = policy(tenants=[tenant("acme", max_service_difference_tokens=8192)])
    for name in ("w0", "w1"):
        await make_worker(name)
    await complete(rig, "r1", "hello")
    output = io.StringIO()
    console = Console(file=output, width=110)
    ports = [UrlPort("http://127.0.0.1:1"), UrlPort(rig.admin_url)]
    await asyncio.to_thread(explain_request, "r1", ports, as_json=False, console=console)
    text = output.getvalue()
    assert "Request r1 of tenant acme on tier interactive: length" in text
    assert ": Accept" in text
    assert "within the difference of 8,192 tokens" in text
    assert "w1" in text
    with pytest.raises(
        CommandFailed,
        match=r"no gateway has an account of nobody: http://127\.0\.0\.1:1 cannot be read.*: request nobody is unknown",
    ):
        await asyncio.to_thread(explain_request, "nobody", ports, as_json=False, console=console)


async def test_top_reads_a_gateway(rig, worker) -> None:
    watch = Watch(lambda: [FleetPorts("demo/fleet", [UrlPort(rig.admin_url)])])
    await asyncio.to_thread(watch.look)
    await complete(rig, "r1")
    output = io.StringIO()
    Console(file=output, width=110).print(top_view(await asyncio.to_thread(watch.look)))
    rows = [line.split() for line in output.getvalue().splitlines()]
    tiers, tenants = (next(row for row in rows if row[:1] == [name]) for name in ("interactive", "acme"))
    assert float(tiers[2]) > 0
    assert tiers[3].isdecimal()
    assert float(tenants[2].replace(",", "")) > 0
    assert "1 serving" in output.getvalue()


async def test_an_unknown_request(rig) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{rig.admin_url}/debug/explain/nobody") as answer:
        assert answer.status == 404
