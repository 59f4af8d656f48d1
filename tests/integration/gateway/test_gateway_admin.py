"""Probes, metrics and the request log."""

import asyncio

import aiohttp
import openai
import pytest
from gateway_rig import policy, tenant


async def get(rig, path, key=""):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{rig.admin_url}{path}") as answer:
        text = await answer.text()
        return answer.status, (await answer.json() if answer.content_type == "application/json" else text)


async def test_readiness_says_what_is_missing(rig) -> None:
    assert await get(rig, "/readyz") == (200, "ok")
    snapshot, tokenizer = rig.source.current, rig.service.own.tokenizer
    rig.source.current = None
    assert await get(rig, "/readyz") == (503, "the resources are not compiled yet")
    rig.source.current, rig.service.own.tokenizer = snapshot, None
    assert await get(rig, "/readyz") == (503, "the tokenizer is not loaded yet")
    rig.service.own.tokenizer, rig.service.draining = tokenizer, True
    assert await get(rig, "/readyz") == (503, "draining")
    assert await get(rig, "/livez") == (200, "ok")


async def test_the_log_of_a_live_and_of_a_done_request(rig, worker) -> None:
    worker.period_s = 0.02
    client = rig.client()
    running = asyncio.create_task(
        client.completions.create(
            model="m", prompt="hi", max_tokens=30, stream=False, extra_headers={"x-request-id": "r1"}
        )
    )
    await rig.until(lambda: worker.emitted("r1") > 2)
    status, [live] = await get(rig, "/debug/requests")
    assert status == 200
    assert live["request_id"] == "r1"
    assert (live["tenant"], live["tier"], live["state"]) == ("acme", "interactive", "RUNNING")
    assert (live["worker"], live["epoch"], live["moves"]) == ("w0", 1, 0)
    assert live["emitted_tokens"] >= 1
    await running
    _, done = await get(rig, "/debug/requests/r1")
    assert done["outcome"] == "length"
    assert done["delivered_tokens"] == 30
    assert done["ttft_ms"] == done["first_token_ms"] - done["arrival_ms"] > 0
    assert 5 < done["tpot_ms"] < 200
    assert done["max_gap_ms"] >= done["tpot_ms"]
    assert done["moves"] == []
    assert done["emitted_ids"] is None, "what was generated is for who has a key of the tenant"
    assert (await get(rig, "/debug/requests/r1", "key-zeta"))[1]["emitted_ids"] is None
    assert len((await get(rig, "/debug/requests/r1", "key-acme"))[1]["emitted_ids"]) == 30
    assert await get(rig, "/debug/requests") == (200, [])
    assert (await get(rig, "/debug/requests/none"))[0] == 404


async def test_metrics_count_what_happened(rig, worker) -> None:
    await rig.client().completions.create(model="m", prompt="hi", max_tokens=7)
    await rig.client("key-zeta").completions.create(model="m", prompt="hi", max_tokens=2)
    status, text = await get(rig, "/metrics")
    assert status == 200
    assert 'tierline_gateway_requests_total{model="m",outcome="length",tenant="acme",tier="interactive"} 1.0' in text
    assert 'tierline_billed_output_tokens_total{billing_tier="paid",model="m",tenant="acme"} 7.0' in text
    assert 'tierline_billed_prompt_tokens_total{billing_tier="paid",model="m",tenant="zeta"} 2.0' in text
    assert 'tierline_ttft_seconds_count{model="m",tenant="acme",tier="interactive"} 1.0' in text
    assert 'tierline_tpot_seconds_count{model="m",tenant="zeta",tier="interactive"} 1.0' in text
    assert 'tierline_gateway_workers{model="m",state="serving"} 1.0' in text


async def test_higher_tiers_and_the_request_fields_reach_the_worker(rig, make_worker) -> None:
    worker = await make_worker("w0", requests=0)
    client = rig.client()
    low = asyncio.create_task(
        client.completions.create(model="m", prompt="lo", max_tokens=2, extra_headers={"x-tierline-tier": "batch"})
    )
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 1)
    high = asyncio.create_task(client.completions.create(model="m", prompt="hi", max_tokens=2))
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 2)
    worker.requests = 1
    await asyncio.gather(low, high)
    first, second = worker.submits
    assert (first.tier, first.priority, second.tier, second.priority) == ("interactive", 100, "batch", 10)
    assert (first.tenant, first.tpot_budget_ms, first.preemptible) == ("acme", 100, True)
    assert second.waited_ms > 0
    assert second.ttft_slack_ms < 1000


async def test_liveness_notices_a_clockwork_that_stands_still(rig) -> None:
    rig.service._tick_task.cancel()
    now_ms = rig.service.clock_ms()
    rig.service.clock_ms = lambda: now_ms + 11_000
    assert await get(rig, "/livez") == (503, "stalled")


async def test_a_tick_that_fails_is_logged_and_the_next_ones_follow(rig, worker, monkeypatch, caplog) -> None:
    sync, failures = rig.service.own.links.sync, iter([RuntimeError("odd"), RuntimeError("odd")])

    def failing(events) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure
        sync(events)

    monkeypatch.setattr(rig.service.own.links, "sync", failing)
    ticked_ms = rig.service._ticked_ms
    await rig.until(lambda: rig.service._ticked_ms > ticked_ms)
    assert caplog.text.count("a tick of fleet fleet failed") == 2
    assert await get(rig, "/livez") == (200, "ok")


async def test_ticks_that_fail_all_the_time_are_a_standstill(rig, monkeypatch) -> None:
    def failing(_) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(rig.service.own.links, "sync", failing)
    now_ms = rig.service.clock_ms()
    rig.service.clock_ms = lambda: now_ms + 11_000
    assert await get(rig, "/livez") == (503, "stalled")


async def test_refusals_are_counted(rig, worker) -> None:
    rig.source.current = policy(tenants=[tenant("acme", max_concurrent_requests=0)])
    with pytest.raises(openai.RateLimitError):
        await rig.client().completions.create(model="m", prompt="hi", max_tokens=1)
    _, text = await get(rig, "/metrics")
    assert 'tierline_gateway_requests_total{model="m",outcome="refused",tenant="acme",tier="interactive"} 1.0' in text
