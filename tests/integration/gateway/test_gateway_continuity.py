"""Streams outlive their workers: no token is lost, doubled or changed."""

import asyncio
import time
from dataclasses import replace

import aiohttp
import openai
import pytest
from fake_wire_worker import answer_text

from tierline.wire.frames import Iteration, NackReason, Signals, TokenBatch

TOKENS = 60


async def stream_text(rig, tokens=TOKENS, **options) -> str:
    stream = await rig.client().completions.create(model="m", prompt="hi", max_tokens=tokens, stream=True, **options)
    return "".join([chunk.choices[0].text async for chunk in stream])


def holder(rig):
    return next((worker for worker in rig.workers.values() if worker.held), None)


async def details(rig, request_id: str) -> dict:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{rig.admin_url}/debug/requests/{request_id}") as answer,
    ):
        return await answer.json()


async def mid_stream(rig, tokens: int = 5):
    """Wait until some worker has given some tokens of a request, and return it."""
    await rig.until(lambda: (one := holder(rig)) is not None and longest(one) >= tokens)
    return holder(rig)


def longest(worker) -> int:
    return max((len(emitted) for _, emitted in worker.held.values()), default=0)


async def test_a_killed_worker_is_replaced_without_a_gap(rig, make_worker) -> None:
    await make_worker("w0")
    await make_worker("w1")
    running = asyncio.create_task(stream_text(rig, extra_headers={"x-request-id": "r1"}))
    victim = await mid_stream(rig)
    await victim.kill()
    assert await running == answer_text(TOKENS)
    record = await details(rig, "r1")
    assert record["outcome"] == "length"
    assert record["delivered_tokens"] == TOKENS
    [move] = record["moves"]
    assert move["cause"] == "ConnectionLost"
    assert move["from"] == victim.name
    assert move["to"] != victim.name
    assert move["at_emitted"] >= 5
    assert record["recomputed_tokens"] == 2 + move["at_emitted"]


async def test_the_second_worker_gets_journal_and_a_new_epoch(rig, make_worker) -> None:
    await make_worker("w0")
    running = asyncio.create_task(stream_text(rig, seed=7))
    first = await mid_stream(rig)
    await first.kill()
    second = await make_worker("w1")
    assert await running == answer_text(TOKENS)
    [before], [after] = first.submits, second.submits
    assert (before.epoch, after.epoch) == (1, 2)
    assert after.prompt_ids == before.prompt_ids
    assert after.sampling == before.sampling
    assert len(after.emitted_ids) >= 5


async def test_a_stream_waits_for_a_worker_that_comes_later(rig, make_worker) -> None:
    running = asyncio.create_task(stream_text(rig))
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 1)
    await make_worker("w0")
    assert await running == answer_text(TOKENS)


async def test_a_deleted_pod_loses_its_streams_to_another(rig, make_worker) -> None:
    await make_worker("w0")
    await make_worker("w1")
    running = asyncio.create_task(stream_text(rig, extra_headers={"x-request-id": "r1"}))
    victim = await mid_stream(rig)
    rig.discovery.workers = [one for one in rig.discovery.workers if one.name != victim.name]
    assert await running == answer_text(TOKENS)
    assert (await details(rig, "r1"))["moves"][0]["cause"] == "WorkerGone"


async def test_a_published_deadline_moves_streams_before_it(rig, make_worker) -> None:
    await make_worker("w0")
    await make_worker("w1")
    running = asyncio.create_task(stream_text(rig, tokens=300, extra_headers={"x-request-id": "r1"}))
    victim = await mid_stream(rig)
    deadline = int(time.time() * 1000) + 2100
    rig.discovery.workers = [
        replace(one, evacuate_by_epoch_ms=deadline) if one.name == victim.name else one for one in rig.discovery.workers
    ]
    await victim.wait_for(lambda: bool(victim.cancels))
    assert time.time() * 1000 < deadline
    assert await running == answer_text(300)
    assert (await details(rig, "r1"))["moves"][0]["cause"] == "Evacuation"


async def test_a_worker_that_changes_its_role_keeps_its_streams_and_is_routed_to_by_the_new_one(
    rig, make_worker
) -> None:
    await make_worker("w0")
    await make_worker("w1")
    running = asyncio.create_task(stream_text(rig, extra_headers={"x-request-id": "r1"}))
    flipped = await mid_stream(rig)
    rig.discovery.workers = [
        replace(one, pool="chat-prefill", revision="other", role="Prefill") if one.name == flipped.name else one
        for one in rig.discovery.workers
    ]
    links = rig.service.own.links
    await rig.until(lambda: links.get(flipped.name).view().role == "Prefill")
    assert await running == answer_text(TOKENS)
    assert (await details(rig, "r1"))["moves"] == []


async def test_a_worker_with_a_deadline_gets_nothing_new(rig, make_worker) -> None:
    marked = await make_worker("a")
    rig.discovery.workers = [replace(rig.discovery.workers[0], evacuate_by_epoch_ms=int(time.time() * 1000) + 60_000)]
    other = await make_worker("b")
    assert await stream_text(rig, tokens=3) == "abc"
    assert not marked.submits
    assert len(other.submits) == 1


async def test_a_draining_worker_finishes_what_it_can_and_gives_the_rest(rig, make_worker) -> None:
    await make_worker("w0")
    await make_worker("w1")
    running = asyncio.create_task(stream_text(rig, tokens=300, extra_headers={"x-request-id": "r1"}))
    victim = await mid_stream(rig)
    await victim.drain(deadline_ms=1500)
    assert await running == answer_text(300)
    assert (await details(rig, "r1"))["moves"][0]["cause"] == "Draining"


async def test_without_another_worker_a_draining_one_keeps_its_streams(rig, worker) -> None:
    running = asyncio.create_task(stream_text(rig))
    await mid_stream(rig)
    await worker.drain(deadline_ms=0)
    assert await running == answer_text(TOKENS)


async def test_a_nack_puts_the_request_back_in_its_place(rig, make_worker) -> None:
    worker = await make_worker("w0", nack=NackReason.NO_BLOCKS)
    assert await stream_text(rig, tokens=4) == "abcd"
    assert [submit.epoch for submit in worker.submits] == [1, 2]


async def test_a_failure_is_tried_once_on_another_worker(rig, make_worker) -> None:
    await make_worker("w0", fail_at=4)
    await make_worker("w1")
    assert await stream_text(rig, tokens=10) == answer_text(10)


async def test_a_second_failure_ends_in_an_error_event(rig, make_worker) -> None:
    await make_worker("w0", fail_at=4)
    await make_worker("w1", fail_at=6)
    with pytest.raises(openai.APIError, match="out of luck"):
        await stream_text(rig, tokens=10)


async def test_a_failure_without_another_worker_is_an_error(rig, make_worker) -> None:
    await make_worker("w0", fail_at=0)
    with pytest.raises(openai.InternalServerError, match="out of luck") as caught:
        await rig.client().completions.create(model="m", prompt="hi", max_tokens=9)
    assert caught.value.response.headers["x-tierline-reason"] == "GenerationFailed"


async def test_late_and_repeated_frames_change_nothing(rig, worker) -> None:
    running = asyncio.create_task(stream_text(rig, extra_headers={"x-request-id": "r1"}))
    await mid_stream(rig)
    repeated = TokenBatch("r1", 1, 0, (9, 9, 9))
    stale = TokenBatch("r1", 0, 3, (8,), "stop")
    await worker.send(Iteration(1, Signals(), worker.credits(), (repeated, stale)))
    assert await running == answer_text(TOKENS)
    assert (await details(rig, "r1"))["duplicates_dropped"] == 4


async def test_skipped_tokens_are_noticed_and_replayed(rig, make_worker) -> None:
    worker = await make_worker("w0")
    running = asyncio.create_task(stream_text(rig, extra_headers={"x-request-id": "r1"}))
    await mid_stream(rig)
    await worker.send(Iteration(1, Signals(), worker.credits(), (TokenBatch("r1", 1, 400, (9,)),)))
    assert await running == answer_text(TOKENS)
    assert (await details(rig, "r1"))["moves"][0]["cause"] == "Gap"


async def test_a_disconnect_cancels_upstream(rig, worker) -> None:
    stream = await rig.client().completions.create(model="m", prompt="hi", max_tokens=400, stream=True)
    await anext(aiter(stream))
    await stream.close()
    await worker.wait_for(lambda: bool(worker.cancels))
    await rig.until(lambda: not list(rig.service.own.dispatcher.live))
    assert not worker.held


async def test_a_disconnect_while_waiting_leaves_the_queue(rig) -> None:
    waiting = asyncio.create_task(rig.client().completions.create(model="m", prompt="hi", max_tokens=4))
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 1)
    waiting.cancel()
    await rig.until(lambda: not len(rig.service.own.dispatcher.queue))


async def test_shutdown_lets_streams_finish(rig, worker) -> None:
    running = asyncio.create_task(stream_text(rig, tokens=40))
    await mid_stream(rig)
    await rig.servers.stop_accepting()
    assert await rig.service.drained(10)
    assert await running == answer_text(40)
    async with rig.new_client() as late:
        with pytest.raises(openai.APIConnectionError):
            await late.models.list()


async def test_many_streams_over_a_dying_fleet(rig, make_worker) -> None:
    for name in ("w0", "w1", "w2"):
        await make_worker(name, requests=20)
    streams = [asyncio.create_task(stream_text(rig, tokens=80)) for _ in range(40)]
    await mid_stream(rig, 10)
    await rig.workers["w0"].kill()
    await mid_stream(rig, 30)
    await rig.workers["w1"].kill()
    assert set(await asyncio.gather(*streams)) == {answer_text(80)}


async def test_an_answer_is_cut_at_the_window_of_workers_that_came_later(rig, make_worker) -> None:
    running = asyncio.create_task(rig.client().completions.create(model="m", prompt="hi", max_tokens=500))
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 1)
    await make_worker("w0", max_model_tokens=40)
    answer = await running
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (answer_text(38), "length")


async def test_a_prompt_too_long_for_workers_that_came_later_is_refused(rig, make_worker) -> None:
    running = asyncio.create_task(rig.client().completions.create(model="m", prompt="a" * 50, max_tokens=5))
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 1)
    await make_worker("w0", max_model_tokens=40)
    with pytest.raises(openai.BadRequestError, match="context is 40 tokens"):
        await running


async def test_a_worker_that_ignores_its_cancel_adds_nothing(rig, make_worker) -> None:
    await make_worker("w0", deaf=True)
    other = await make_worker("w1", requests=0)
    running = asyncio.create_task(stream_text(rig, tokens=300, extra_headers={"x-request-id": "r1"}))
    victim = await mid_stream(rig)
    rig.discovery.workers[0] = replace(rig.discovery.workers[0], evacuate_by_epoch_ms=int(time.time() * 1000))
    await victim.wait_for(lambda: bool(victim.cancels))
    waited = victim.emitted("r1") + 20
    await victim.wait_for(lambda: victim.emitted("r1") >= waited)
    other.requests = 4
    assert await running == answer_text(300)
    record = await details(rig, "r1")
    assert record["duplicates_dropped"] >= 20
    assert len(other.submits[0].emitted_ids) == record["moves"][0]["at_emitted"]
