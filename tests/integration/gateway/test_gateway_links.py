"""Connections to workers that misbehave, and clients that do."""

import asyncio

import aiohttp
import openai
import pytest
from fake_wire_worker import FakeWorker, answer_text

from tierline.wire.frames import Refusal, TokenBatch
from tierline_gateway.front import event_stream
from tierline_gateway.streams.journal import Journal
from tierline_gateway.workers import link as worker_link
from tierline_gateway.workers.discovery import WorkerEndpoint


async def text_of(rig, tokens: int) -> str:
    done = await rig.client().completions.create(model="m", prompt="hi", max_tokens=tokens)
    return done.choices[0].text


async def moved_because(rig, make_worker, harm) -> str:
    """Harm the worker of a running request; returns why its stream moved."""
    await make_worker("w0")
    await make_worker("w1")
    running = asyncio.create_task(text_of(rig, 60))
    await rig.until(lambda: any(worker.held for worker in rig.workers.values()))
    [live] = rig.service.own.dispatcher.live
    await harm(rig.workers[live.worker])
    assert await running == answer_text(60)
    return live.moves[0].cause


async def test_a_silent_worker_is_lost(rig, make_worker, monkeypatch) -> None:
    monkeypatch.setattr(worker_link, "SILENCE_SECONDS", 0.2)

    async def freeze(worker: FakeWorker) -> None:
        worker.gate.clear()

    assert await moved_because(rig, make_worker, freeze) == "Silence"


async def test_a_worker_that_speaks_nonsense_is_lost(rig, make_worker) -> None:
    async def babble(worker: FakeWorker) -> None:
        assert worker.writer is not None
        worker.writer.write(b"\x00\x00\x00\x04nope")

    assert await moved_because(rig, make_worker, babble) == "ProtocolError"


async def test_a_frame_over_the_limit_is_nonsense_too(rig, make_worker) -> None:
    async def shout(worker: FakeWorker) -> None:
        assert worker.writer is not None
        worker.writer.write(b"\xff\xff\xff\xff")

    assert await moved_because(rig, make_worker, shout) == "ProtocolError"


async def test_a_worker_may_refuse_us_later(rig, make_worker) -> None:
    async def refuse(worker: FakeWorker) -> None:
        await worker.send(Refusal("draining"))

    assert await moved_because(rig, make_worker, refuse) == "Refused"


async def test_a_worker_that_comes_back_is_used_again(rig, make_worker) -> None:
    worker = await make_worker("w0")
    port = rig.discovery.workers[0].port
    await worker.kill()
    await rig.until(lambda: not rig.service.own.links.get("w0").up)
    await worker.start("127.0.0.1", port)
    assert await text_of(rig, 3) == "abc"


async def test_a_worker_on_a_new_address_is_dialled_there(rig, make_worker) -> None:
    await (await make_worker("w0")).kill()
    reborn = FakeWorker("w0")
    rig.workers["reborn"] = reborn
    endpoint = await reborn.start()
    rig.discovery.workers = [WorkerEndpoint("w0", endpoint.host, endpoint.port)]
    assert await text_of(rig, 3) == "abc"
    assert reborn.submits


async def test_a_client_that_reads_nothing_is_given_up(rig, worker, monkeypatch) -> None:
    monkeypatch.setattr(event_stream, "SLOW_CLIENT_S", 0.1)
    monkeypatch.setattr(event_stream.EventStream, "keeps_up", False)
    written = aiohttp.web.StreamResponse.write

    async def clog(response, data: bytes) -> None:
        if b'"text":"c"' in data:
            await asyncio.Event().wait()
        await written(response, data)

    monkeypatch.setattr(aiohttp.web.StreamResponse, "write", clog)
    body = {"model": "m", "prompt": "hi", "max_tokens": 400, "stream": True}
    headers = {"Authorization": "Bearer key-acme"}
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            async with session.post(f"{rig.url}/v1/completions", json=body, headers=headers) as answer:
                await answer.read()
    await worker.wait_for(lambda: bool(worker.cancels))
    assert not list(rig.service.own.dispatcher.live)


async def test_a_defect_in_one_request_ends_that_request_alone(rig, make_worker, monkeypatch) -> None:
    await make_worker("w0")
    accept = Journal.accept

    def defective(journal: Journal, batch: TokenBatch) -> tuple[int, ...]:
        if journal.sampling.max_tokens == 7:
            raise KeyError("planted")
        return accept(journal, batch)

    monkeypatch.setattr(Journal, "accept", defective)
    beside = asyncio.create_task(text_of(rig, 60))
    with pytest.raises(openai.InternalServerError, match="could not go on with this request"):
        await rig.client().with_options(max_retries=0).completions.create(model="m", prompt="hi", max_tokens=7)

    assert await beside == answer_text(60)
    assert len(rig.workers["w0"].held) == 0
