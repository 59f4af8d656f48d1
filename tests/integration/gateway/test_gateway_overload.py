"""What happens to a request that would wait longer than its tier allows, by the tier's `overload`."""

import asyncio

import openai
import pytest
from gateway_rig import policy, tenant, tier

SLOW_SERVICE_MS = 10_000.0


async def ask(rig, name: str):
    return await rig.client().completions.with_raw_response.create(
        model="m", prompt="hi", max_tokens=1, extra_headers={"x-tierline-tier": name}
    )


async def overloaded(rig, make_worker, **changes):
    """One request waits already, and the queue is known to be served slowly."""
    worker = await make_worker("w0", requests=0)
    interactive = {"max_queue_ms": 5000, "ttft_deadline_ms": 30_000, **changes}
    tiers = [tier("interactive", 100, **interactive), tier("batch", 10, max_queue_ms=60_000, ttft_deadline_ms=60_000)]
    rig.source.current = policy(tiers, [tenant("acme")])
    rig.service.own.dispatcher.desk.rate.interval_ms = SLOW_SERVICE_MS
    first = asyncio.create_task(ask(rig, "interactive"))
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 1)
    return worker, first


async def test_reject_says_when_to_come_back(rig, make_worker) -> None:
    worker, first = await overloaded(rig, make_worker, overload="Reject")
    with pytest.raises(openai.RateLimitError, match=r"queue would take 10\.0 s") as caught:
        await ask(rig, "interactive")
    assert caught.value.response.headers["Retry-After"] == "5"
    assert caught.value.response.headers["x-tierline-reason"] == "Saturated"
    worker.requests = 4
    await first


async def test_the_target_of_the_first_token_bounds_the_wait(rig, make_worker) -> None:
    worker, first = await overloaded(rig, make_worker, overload="Reject", ttft_deadline_ms=2000)
    with pytest.raises(openai.RateLimitError, match=r"queue would take 10\.0 s, the tier's targets leave 2\.0 s"):
        await ask(rig, "interactive")
    worker.requests = 4
    await first


async def test_defer_waits(rig, make_worker) -> None:
    worker, first = await overloaded(rig, make_worker, overload="Defer")
    second = asyncio.create_task(ask(rig, "interactive"))
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 2)
    worker.requests = 4
    await asyncio.gather(first, second)


async def test_degrade_takes_the_named_tier(rig, make_worker) -> None:
    worker, first = await overloaded(rig, make_worker, overload="Degrade", degrade_to="batch")
    second = asyncio.create_task(ask(rig, "interactive"))
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 2)
    worker.requests = 4
    answers = await asyncio.gather(first, second)
    assert [submit.tier for submit in worker.submits] == ["interactive", "batch"]
    assert [answer.headers["x-tierline-tier"] for answer in answers] == ["interactive", "batch"]
