"""What clients get: answers through the unmodified OpenAI SDK, and errors that say what to change."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio
from e2e_gateway import Gateway
from e2e_house import FAST, KEYS, SLOW, UNSERVED, House
from e2e_streams import assert_whole, open_stream, whole_answer
from e2e_waiting import HANGS_SECONDS, eventually
from openai import AsyncOpenAI

from tierline.api.names import HEADER_TIER

PROMPT = "Tell me about the night ferry."


@pytest_asyncio.fixture(loop_scope="session")
async def alice(gateway: Gateway) -> AsyncIterator[AsyncOpenAI]:
    async with gateway.client(KEYS["alice"]) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def bob(gateway: Gateway) -> AsyncIterator[AsyncOpenAI]:
    async with gateway.client(KEYS["bob"]) as client:
        yield client


async def test_models_are_listed(house: House, alice: AsyncOpenAI) -> None:
    listed = await alice.models.list()
    assert [model.id for model in listed.data] == [house.fleet]
    assert (await alice.models.retrieve(house.fleet)).id == house.fleet


async def test_stream_and_whole_answer_are_the_same(house: House, alice: AsyncOpenAI) -> None:
    streamed = await whole_answer(alice, house.fleet, PROMPT, 40)
    assert_whole(streamed, 40)
    whole = await alice.chat.completions.create(
        model=house.fleet,
        messages=[{"role": "user", "content": PROMPT}],
        max_tokens=40,
        temperature=0,
        extra_body={"ignore_eos": True},
    )
    assert whole.choices[0].message.content == streamed.text
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 40


async def test_plain_completions_are_served(house: House, alice: AsyncOpenAI) -> None:
    answer = await alice.completions.create(model=house.fleet, prompt=PROMPT, max_tokens=8, seed=7)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(PROMPT.encode())


async def test_a_batch_is_answered_in_the_fleet_as_its_operator_made_it(house: House, alice: AsyncOpenAI) -> None:
    body = {"model": house.fleet, "prompt": PROMPT, "max_tokens": 4, "ignore_eos": True}
    line = {"custom_id": "q", "method": "POST", "url": "/v1/completions", "body": body}
    source = await alice.files.create(file=("requests.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = await alice.batches.create(
        input_file_id=source.id, endpoint="/v1/completions", completion_window="24h", metadata={HEADER_TIER: SLOW}
    )

    async def completed() -> bool:
        return (await alice.batches.retrieve(batch.id)).status == "completed"

    await eventually(completed, HANGS_SECONDS, "the batch is completed")
    done = await alice.batches.retrieve(batch.id)
    assert done.output_file_id is not None
    (answer,) = (await alice.files.content(done.output_file_id)).text.splitlines()
    assert json.loads(answer)["response"]["body"]["usage"]["completion_tokens"] == 4


async def test_many_streams_at_once_are_all_whole(house: House, alice: AsyncOpenAI, bob: AsyncOpenAI) -> None:
    streams = [open_stream(client, house.fleet, f"{PROMPT} {n}", 60) for n in range(8) for client in (alice, bob)]
    for stream in await asyncio.gather(*(stream.end() for stream in streams)):
        assert_whole(stream, 60)


async def test_tenant_and_tier_follow_from_key_and_header(
    house: House, gateway: Gateway, alice: AsyncOpenAI, bob: AsyncOpenAI
) -> None:
    own = await whole_answer(alice, house.fleet, PROMPT, 4)
    asked = await whole_answer(alice, house.fleet, PROMPT, 4, extra_headers={"x-tierline-tier": SLOW})
    other = await whole_answer(bob, house.fleet, PROMPT, 4)
    seen = [await gateway.request(stream.request_id) for stream in (own, asked, other)]
    assert [(it["tenant"], it["tier"]) for it in seen] == [("alice", FAST), ("alice", SLOW), ("bob", SLOW)]


async def test_a_client_that_hangs_up_frees_its_worker(house: House, gateway: Gateway, alice: AsyncOpenAI) -> None:
    stream = open_stream(alice, house.fleet, PROMPT, 8000)
    await stream.until(5)
    await stream.hang_up()
    after = await whole_answer(alice, house.fleet, PROMPT, 4)
    assert_whole(after, 4)
    left = {request["request_id"] for request in await gateway.requests()}
    assert stream.request_id not in left


async def test_wrong_key(gateway: Gateway, house: House) -> None:
    async with gateway.client("nobodys-key") as stranger:
        with pytest.raises(openai.AuthenticationError, match=r"API key in the header 'Authorization' is unknown"):
            await _ask(stranger, house.fleet)


async def test_unknown_model(alice: AsyncOpenAI, house: House) -> None:
    with pytest.raises(openai.NotFoundError, match=rf"set 'model' to one of: {house.fleet}") as refused:
        await _ask(alice, "gpt-9")
    assert refused.value.param == "model"


async def test_tier_that_the_tenant_may_not_use(bob: AsyncOpenAI, house: House) -> None:
    with pytest.raises(openai.PermissionDeniedError, match=rf"'{FAST}', which the tenant may not use.*{SLOW}"):
        await _ask(bob, house.fleet, extra_headers={"x-tierline-tier": FAST})


async def test_tier_that_the_fleet_does_not_serve(alice: AsyncOpenAI, house: House) -> None:
    with pytest.raises(openai.BadRequestError, match=rf"'{UNSERVED}', which model '{house.fleet}' does not serve"):
        await _ask(alice, house.fleet, extra_headers={"x-tierline-tier": UNSERVED})


async def test_tier_that_does_not_exist(alice: AsyncOpenAI, house: House) -> None:
    with pytest.raises(openai.BadRequestError, match=r"x-tierline-tier.*'gold', which does not exist") as refused:
        await _ask(alice, house.fleet, extra_headers={"x-tierline-tier": "gold"})
    assert refused.value.param == "x-tierline-tier"


async def test_prompt_longer_than_the_model(alice: AsyncOpenAI, house: House) -> None:
    with pytest.raises(openai.BadRequestError, match=r"context is 8192 tokens, but the prompt has \d+.*shorten") as no:
        await alice.chat.completions.create(model=house.fleet, messages=[{"role": "user", "content": "x" * 9000}])
    assert (no.value.param, no.value.code) == ("messages", "context_length_exceeded")


async def test_answer_longer_than_the_model(alice: AsyncOpenAI, house: House) -> None:
    with pytest.raises(openai.BadRequestError, match=r"'max_tokens' asks for 9000 more; set it to \d+ or less"):
        await _ask(alice, house.fleet, max_tokens=9000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1),
        ("temperature", "hot"),
        ("top_p", 0),
        ("max_tokens", -5),
        ("max_tokens", 1.5),
        ("n", 1000),
        ("seed", 2**70),
        ("messages", "hello"),
        ("stop", [""]),
        ("stream", "yes"),
    ],
)
async def test_absurd_parameters_are_named(gateway: Gateway, house: House, field: str, value: object) -> None:
    body = {"model": house.fleet, "messages": [{"role": "user", "content": "hi"}], field: value}
    status, answer = await _post(gateway, json=body)
    assert status == 400
    assert answer["error"]["param"] == field
    assert f"'{field}'" in answer["error"]["message"]


@pytest.mark.parametrize("field", ["model", "messages"])
async def test_missing_fields_are_named(gateway: Gateway, house: House, field: str) -> None:
    body = {"model": house.fleet, "messages": [{"role": "user", "content": "hi"}]}
    del body[field]
    status, answer = await _post(gateway, json=body)
    assert (status, answer["error"]["param"]) == (400, field)
    assert f"'{field}' is required" in answer["error"]["message"]


async def test_malformed_json(gateway: Gateway) -> None:
    status, answer = await _post(gateway, data=b'{"model": "tiny", "messages": [')
    assert status == 400
    assert "not valid JSON" in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"


async def test_huge_body(gateway: Gateway) -> None:
    status, answer = await _post(gateway, data=b'{"model": "' + b"x" * (5 << 20) + b'"}')
    assert status == 413
    assert "over 4 MiB; shorten it" in answer["error"]["message"]


async def test_unknown_path(gateway: Gateway) -> None:
    status, answer = await _post(gateway, path="embeddings", json={})
    assert status == 404
    assert "/v1/chat/completions" in answer["error"]["message"]


async def _ask(client: AsyncOpenAI, model: str, **options: Any) -> None:
    request = {"max_tokens": 4, **options}
    await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}], **request)


async def _post(gateway: Gateway, path: str = "chat/completions", **body: Any) -> tuple[int, Mapping[str, Any]]:
    headers = {"Authorization": f"Bearer {KEYS['alice']}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{gateway.url}/{path}", **body) as answer,
    ):
        return answer.status, await answer.json()
