"""OpenAI's files and batches through a real gateway and OpenAI's own client: every line has one end, whatever dies."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import openai
import pytest
from fake_wire_worker import FakeWorker, answer_text
from gateway_rig import policy, tenant, tier
from later_rig import LaterRig, opened

from tierline_gateway.batches import batch_runner
from tierline_gateway.batches.storage_limits import StorageLimits
from tierline_gateway.deferred import holding
from tierline_gateway.deferred.redis_store import RedisRecords
from tierline_gateway.deferred.sweeping import sweep

ENDPOINT = "/v1/completions"
SOON = {"anchor": "created_at", "seconds": 5}
HANGS_S = 60
OVER = ("completed", "failed", "expired", "cancelled")


def line(custom_id: str, **changes: object) -> dict:
    body = {"model": "m", "prompt": "hi", "max_tokens": 3}
    return {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body, **changes}


def jsonl(lines: Iterable[object]) -> bytes:
    return "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines).encode()


@pytest.fixture
async def rig(tmp_path, monkeypatch) -> AsyncIterator[LaterRig]:
    monkeypatch.setattr(batch_runner, "COUNT_S", 0.02)
    made = await opened(tmp_path)
    yield made
    await made.close()


async def begun(client: openai.AsyncOpenAI, lines: Iterable[object], **asked):
    source = await client.files.create(file=("requests.jsonl", jsonl(lines)), purpose="batch")
    asked = {"endpoint": ENDPOINT, "completion_window": "24h", **asked}
    return await client.batches.create(input_file_id=source.id, **asked)


async def ended(client: openai.AsyncOpenAI, batch_id: str):
    async with asyncio.timeout(HANGS_S):
        while True:
            batch = await client.batches.retrieve(batch_id)
            if batch.status in OVER:
                return batch
            await asyncio.sleep(0.01)


async def counted(client: openai.AsyncOpenAI, batch_id: str, completed: int) -> None:
    async with asyncio.timeout(HANGS_S):
        while True:
            if (await client.batches.retrieve(batch_id)).request_counts.completed >= completed:
                return
            await asyncio.sleep(0.005)


async def content(client: openai.AsyncOpenAI, file_id: str | None) -> list[dict]:
    if file_id is None:
        return []
    return [json.loads(one) for one in (await client.files.content(file_id)).text.splitlines()]


async def test_a_batch_from_upload_to_its_answers(rig) -> None:
    await rig.add_worker(FakeWorker("w0"))
    client = rig.client()
    batch = await begun(client, [line(f"q{at}") for at in range(20)], metadata={"job": "nightly"})
    assert (batch.object, batch.endpoint, batch.metadata) == ("batch", ENDPOINT, {"job": "nightly"})
    assert batch.expires_at - batch.created_at == 24 * 3600
    done = await ended(client, batch.id)
    assert (done.status, done.error_file_id, done.model) == ("completed", None, "m")
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (20, 20, 0)
    assert batch.created_at <= done.in_progress_at <= done.finalizing_at <= done.completed_at
    answers = await content(client, done.output_file_id)
    assert [one["custom_id"] for one in answers] == [f"q{at}" for at in range(20)]
    assert len({one["id"] for one in answers}) == 20
    first = answers[0]
    assert first["error"] is None
    assert first["response"]["status_code"] == 200
    assert first["response"]["body"]["choices"][0]["text"] == answer_text(3)
    output = await client.files.retrieve(done.output_file_id)
    assert (output.purpose, output.filename) == ("batch_output", f"{batch.id}_output.jsonl")


async def test_lines_run_in_a_tier_that_waits_unless_another_is_asked_for(rig) -> None:
    snapshot = policy([tier("interactive", 100, objective="Latency"), tier("batch", 10), tier("secret", 1)])
    rig.source.current = snapshot
    worker = await rig.add_worker(FakeWorker("w0"))
    client = rig.client()
    for asked, expected in (
        ({}, "batch"),
        ({"metadata": {"x-tierline-tier": "interactive"}}, "interactive"),
        ({"extra_headers": {"x-tierline-tier": "interactive"}}, "interactive"),
    ):
        batch = await begun(client, [line("q")], **asked)
        await ended(client, batch.id)
        assert worker.submits[-1].tier == expected
    with pytest.raises(openai.PermissionDeniedError, match="secret"):
        await begun(client, [line("q")], metadata={"x-tierline-tier": "secret"})


async def test_a_wrong_request_is_in_the_error_file_with_what_a_waiting_client_would_be_told(rig) -> None:
    await rig.add_worker(FakeWorker("w0"))
    client = rig.client()
    wrong = line("bad", body={"model": "m", "prompt": "hi", "max_tokens": -1})
    unknown = line("lost", body={"model": "nobody", "prompt": "hi"})
    done = await ended(client, (await begun(client, [line("a"), wrong, line("b"), unknown])).id)
    assert (done.status, done.request_counts.completed, done.request_counts.failed) == ("completed", 2, 2)
    assert [one["custom_id"] for one in await content(client, done.output_file_id)] == ["a", "b"]
    bad, lost = await content(client, done.error_file_id)
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("bad", 400)
    assert bad["response"]["body"]["error"]["param"] == "max_tokens"
    assert (lost["custom_id"], lost["response"]["status_code"]) == ("lost", 404)


async def test_a_file_that_is_not_sound_fails_with_lines_and_fields(rig) -> None:
    client = rig.client()
    lines = [line("a"), "{not json", line("a"), line("c", method="GET"), line("d", body={"model": "m", "stream": True})]
    done = await ended(client, (await begun(client, lines)).id)
    assert done.status == "failed"
    assert done.failed_at is not None
    assert [(one.line, one.param, one.code) for one in done.errors.data] == [
        (2, None, "invalid_json_line"),
        (3, "custom_id", "duplicate_custom_id"),
        (4, "method", "invalid_method"),
        (5, "body.stream", "invalid_value"),
    ]


async def test_a_batch_survives_the_death_of_its_gateway_and_answers_no_line_twice(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(batch_runner, "COUNT_S", 0.02)
    monkeypatch.setattr(holding, "TURN_S", 0.05)
    first = await opened(tmp_path, holder="g0")
    await first.add_worker(FakeWorker("w0", requests=2, most_answers=20))
    batch = await begun(first.client(), [line(f"q{at}") for at in range(60)])
    await counted(first.client(), batch.id, 10)
    await first.die()
    second = await opened(tmp_path, holder="g1")
    try:
        await second.lease_ends("batch", "g0", batch.id)
        worker = await second.add_worker(FakeWorker("w1"))
        client = second.client()
        done = await ended(client, batch.id)
        assert (done.status, done.request_counts.completed) == ("completed", 60)
        answers = await content(client, done.output_file_id)
        assert [one["custom_id"] for one in answers] == [f"q{at}" for at in range(60)]
        assert len(worker.submits) <= 50, "what was durable is not asked again"
    finally:
        await second.close()


async def test_gateways_with_a_common_store_know_each_others_batches(redis_server, tmp_path, monkeypatch) -> None:
    """Made at one gateway, watched and cancelled at another; and finished by another when the first one dies."""
    monkeypatch.setattr(batch_runner, "COUNT_S", 0.02)
    monkeypatch.setattr(holding, "TURN_S", 0.05)
    first, second = [
        await opened(RedisRecords(redis_server.url, f"demo/{tmp_path.name}"), holder=holder) for holder in ("g0", "g1")
    ]
    try:
        await first.add_worker(FakeWorker("w0", requests=2, most_answers=10))
        held = await begun(first.client(), [line(f"q{at}") for at in range(200)])
        await counted(second.client(), held.id, 2)
        moved = await begun(first.client(), [line(f"q{at}") for at in range(30)])
        assert second.later.batches.holding.holds == 0
        await second.client().batches.cancel(held.id)
        assert (await ended(second.client(), held.id)).status == "cancelled"
        await first.die()
        await second.lease_ends("batch", "g0", moved.id)
        await second.add_worker(FakeWorker("w1"))
        done = await ended(second.client(), moved.id)
        assert (done.status, done.request_counts.completed) == ("completed", 30)
        answers = await content(second.client(), done.output_file_id)
        assert [one["custom_id"] for one in answers] == [f"q{at}" for at in range(30)]
    finally:
        await second.close()


async def test_a_cancelled_batch_keeps_what_was_answered_and_names_the_rest(rig) -> None:
    worker = await rig.add_worker(FakeWorker("w0", requests=4, most_answers=20))
    client = rig.client()
    batch = await begun(client, [line(f"q{at}") for at in range(200)])
    await counted(client, batch.id, 5)
    asked = await client.batches.cancel(batch.id)
    assert asked.status == "cancelling"
    done = await ended(client, batch.id)
    assert done.status == "cancelled"
    answered = await content(client, done.output_file_id)
    left = await content(client, done.error_file_id)
    assert {one["error"]["code"] for one in left} == {"batch_cancelled"}
    ids = [one["custom_id"] for one in (*answered, *left)]
    assert sorted(ids) == sorted(f"q{at}" for at in range(200))
    assert (done.request_counts.completed, done.request_counts.failed) == (len(answered), len(left))
    await worker.wait_for(lambda: not worker.held)
    with pytest.raises(openai.ConflictError, match="cancelled"):
        await client.batches.cancel(batch.id)


async def test_the_end_of_the_window_expires_what_is_left(rig, monkeypatch) -> None:
    monkeypatch.setattr("tierline_gateway.batches.batch_endpoints._window_s", lambda _: 0.3)
    client = rig.client()
    done = await ended(client, (await begun(client, [line("a"), line("b")])).id)
    assert (done.status, done.output_file_id) == ("expired", None)
    assert done.expired_at is not None
    left = await content(client, done.error_file_id)
    assert [(one["custom_id"], one["error"]["code"]) for one in left] == [
        ("a", "batch_expired"),
        ("b", "batch_expired"),
    ]


async def test_only_its_tenant_sees_files_and_batches(rig) -> None:
    batch = await begun(rig.client(), [line("a")])
    stranger = rig.client("key-zeta")
    assert (await stranger.files.list()).data == []
    assert (await stranger.batches.list()).data == []
    for call in (
        stranger.files.retrieve(batch.input_file_id),
        stranger.files.content(batch.input_file_id),
        stranger.files.delete(batch.input_file_id),
        stranger.batches.retrieve(batch.id),
        stranger.batches.cancel(batch.id),
    ):
        with pytest.raises(openai.NotFoundError):
            await call
    with pytest.raises(openai.BadRequestError) as refused:
        await stranger.batches.create(input_file_id=batch.input_file_id, endpoint=ENDPOINT, completion_window="24h")
    assert refused.value.body["param"] == "input_file_id"


async def test_lists_have_cursors(rig) -> None:
    client = rig.client()
    made = [(await begun(client, [line("a")])).id for _ in range(5)]
    page = await client.batches.list(limit=2)
    assert ([one.id for one in page.data], page.has_more) == ([made[4], made[3]], True)
    assert [one.id async for one in client.batches.list(limit=2)] == made[::-1]
    files = [one.id async for one in client.files.list(purpose="batch", limit=2, order="asc")]
    assert len(files) == 5
    assert [one.id async for one in client.files.list()] == files[::-1]
    assert (await client.files.list(purpose="batch_output")).data == []
    with pytest.raises(openai.BadRequestError) as refused:
        await client.batches.list(limit=0)
    assert refused.value.body["param"] == "limit"


async def test_an_input_file_stays_until_its_batch_is_over(rig) -> None:
    client = rig.client()
    batch = await begun(client, [line("a")])
    with pytest.raises(openai.ConflictError, match=batch.id):
        await client.files.delete(batch.input_file_id)
    await client.batches.cancel(batch.id)
    await ended(client, batch.id)
    assert (await client.files.delete(batch.input_file_id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.content(batch.input_file_id)


async def test_large_files_come_back_as_they_went_and_leave_nothing_behind(rig) -> None:
    client = rig.client()
    text = jsonl([line(f"q{at}", padding="x" * 1000) for at in range(700)])
    source = await client.files.create(file=("big.jsonl", text), purpose="batch")
    assert source.bytes == len(text)
    assert (await client.files.content(source.id)).content == text
    await client.files.delete(source.id)
    assert (await rig.later._store.usage("acme")).records == 0


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"purpose": "fine-tune", "file": ("a.jsonl", b"{}")}, "purpose"),
        ({"purpose": "batch", "file": ("a.jsonl", b"")}, "file"),
        ({"purpose": "batch", "file": ("a", b"{}"), "expires_after": SOON}, "expires_after"),
    ],
)
async def test_bad_uploads_are_refused_by_field_and_leave_nothing_behind(rig, form, param) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await rig.client().files.create(**form)
    assert refused.value.body["param"] == param
    assert (await rig.later._store.usage("acme")).records == 0


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"completion_window": "soon"}, "completion_window"),
        ({"completion_window": "169h"}, "completion_window"),
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"output_expires_after": {"anchor": "now", "seconds": 3600}}, "output_expires_after"),
    ],
)
async def test_bad_batches_are_refused_by_field(rig, asked, param) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await begun(rig.client(), [line("a")], **asked)
    assert refused.value.body["param"].startswith(param)


async def test_what_a_tenant_keeps_is_bounded(rig) -> None:
    client, files = rig.client(), rig.later.batches.files
    files.limits = StorageLimits(total_bytes=4_000_000, file_bytes=1_000_000, files=3, open_batches=1)
    with pytest.raises(openai.APIStatusError, match="split it") as refused:
        await client.files.create(file=("big.jsonl", b"x" * 1_100_000), purpose="batch")
    assert refused.value.status_code == 413
    batch = await begun(client, [line("a")])
    with pytest.raises(openai.RateLimitError, match="not over"):
        await client.batches.create(input_file_id=batch.input_file_id, endpoint=ENDPOINT, completion_window="24h")
    for _ in range(2):
        await client.files.create(file=("some.jsonl", b"x" * 990_000), purpose="batch")
    with pytest.raises(openai.RateLimitError, match="3 files"):
        await client.files.create(file=("one.jsonl", b"x"), purpose="batch")
    files.limits = replace(files.limits, files=10)
    with pytest.raises(openai.RateLimitError, match="delete files"):
        await client.files.create(file=("more.jsonl", b"x" * 500_000), purpose="batch")


async def test_what_expired_is_swept_with_all_its_pieces(rig) -> None:
    client, store = rig.client(), rig.later._store
    source = await client.files.create(
        file=("a.jsonl", b"x" * 600_000), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert source.expires_at - source.created_at in (3600, 3601)
    half = await rig.later.batches.files.begin("acme", "half", "batch")
    await half.write(b"y" * 300_000)
    await sweep(store, rig.later.batches.files, source.created_at + 60.0)
    assert (await client.files.retrieve(source.id)).bytes == 600_000
    await sweep(store, rig.later.batches.files, source.created_at + 3700.0)
    assert (await store.usage()).records == 0


async def test_quotas_hold_for_lines_of_batches(rig) -> None:
    """A tenant that may run one request at a time runs one line at a time; none is lost by that."""
    rig.source.current = policy(tenants=[tenant("acme", max_concurrent_requests=1)])
    worker = await rig.add_worker(FakeWorker("w0"))
    client = rig.client()
    most = 0
    batch = await begun(client, [line(f"q{at}") for at in range(2)])
    async with asyncio.timeout(HANGS_S):
        while (seen := await client.batches.retrieve(batch.id)).status not in OVER:
            most = max(most, len(worker.held))
            await asyncio.sleep(0.005)
    assert (seen.status, seen.request_counts.completed) == ("completed", 2)
    assert most <= 1
