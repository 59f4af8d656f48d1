"""Fields of OpenAI and vLLM that are neither about sampling nor about tools."""

import asyncio

import aiohttp
import openai
import pytest
from character_tokenizer import character_tokenizer

from tierline_gateway.front.openai_responses import ResponseShape

MESSAGES = [{"role": "user", "content": "hello"}]


async def test_usage_with_every_chunk(rig, worker) -> None:
    stream = await rig.client().chat.completions.create(
        model="m",
        messages=MESSAGES,
        max_tokens=6,
        n=2,
        stream=True,
        stream_options={"include_usage": True, "continuous_usage_stats": True},
    )
    counts = [chunk.usage.completion_tokens async for chunk in stream]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == 12
    assert len(set(counts)) > 3


async def test_the_newer_limit_goes_before_the_older(rig, worker) -> None:
    answer = await rig.client().chat.completions.create(
        model="m", messages=MESSAGES, max_tokens=9, max_completion_tokens=3
    )
    assert answer.usage.completion_tokens == 3


async def test_fields_that_change_nothing_are_accepted(rig, worker) -> None:
    answer = await rig.client().chat.completions.create(
        model="m",
        messages=MESSAGES,
        max_tokens=3,
        user="someone",
        metadata={"team": "search"},
        store=False,
        service_tier="auto",
        modalities=["text"],
        extra_body={"skip_special_tokens": True, "unheard_of": 7},
    )
    assert answer.choices[0].message.content == "abc"


async def test_the_answer_says_its_tier_and_its_id(rig, worker) -> None:
    raw = await rig.client().chat.completions.with_raw_response.create(
        model="m", messages=MESSAGES, max_tokens=1, extra_headers={"x-tierline-tier": "batch", "x-request-id": "mine"}
    )
    assert raw.headers["x-tierline-tier"] == "batch"
    assert raw.headers["x-request-id"] == "mine"


async def test_a_users_priority_orders_a_tenants_own_requests(rig, make_worker) -> None:
    worker = await make_worker("w0", requests=1)
    worker.gate.clear()
    client = rig.client()

    async def complete(prompt: str, priority: int) -> None:
        await client.completions.create(model="m", prompt=prompt, max_tokens=2, extra_body={"priority": priority})

    asked = [asyncio.create_task(complete("a", 0))]
    await rig.until(lambda: len(worker.submits) == 1)
    for prompt, priority in (("b", 2), ("c", 0), ("d", -2)):
        asked.append(asyncio.create_task(complete(prompt, priority)))
        await rig.until(lambda: len(rig.service.own.dispatcher.queue) == len(asked) - 1)
    worker.gate.set()
    await asyncio.gather(*asked)
    assert [rig.service.own.tokenizer.decode(submit.prompt_ids) for submit in worker.submits] == ["a", "d", "c", "b"]


async def test_template_variables(rig, make_worker) -> None:
    template = "{% if enable_thinking is false %}<no>{% endif %}{{ reasoning_effort }}{{ messages[0].content }}"
    rig.service.own.tokenizer = character_tokenizer(template)
    worker = await make_worker("w0")
    await rig.client().chat.completions.create(
        model="m",
        messages=MESSAGES,
        max_tokens=1,
        reasoning_effort="low",
        extra_body={"chat_template_kwargs": {"enable_thinking": False}},
    )
    assert rig.service.own.tokenizer.decode(worker.submits[0].prompt_ids) == "<no>lowhello"


@pytest.mark.parametrize("step", ["chunks", "last_chunks"])
async def test_a_defect_in_the_middle_of_a_stream_is_told(rig, worker, monkeypatch, caplog, step) -> None:
    def broken(shape, index, piece):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(ResponseShape, step, broken)
    # With ids no event is made from a template.
    ids = {"return_token_ids": True}
    stream = await rig.client().chat.completions.create(
        model="m", messages=MESSAGES, max_tokens=9, stream=True, extra_body=ids
    )
    with pytest.raises(openai.APIError, match="could not go on"):
        _ = [chunk async for chunk in stream]
    assert "a defect" in caplog.text
    await worker.wait_for(lambda: not worker.held)


async def test_an_error_in_the_middle_is_an_event_and_the_end(rig, make_worker) -> None:
    await make_worker("w0", fail_at=4)
    body = {"model": "m", "prompt": "hi", "max_tokens": 9, "stream": True}
    headers = {"Authorization": "Bearer key-acme"}
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{rig.url}/v1/completions", json=body, headers=headers)
        lines = [line for line in (await answer.text()).splitlines() if line]
    assert answer.status == 200
    assert lines[-1].startswith('data: {"error":{"message":"The worker could not go on')
    assert "[DONE]" not in lines[-1]


async def test_models_say_their_window(rig, worker) -> None:
    model = await rig.client().models.retrieve("m")
    assert model.model_extra == {"root": "m", "parent": None, "max_model_len": 512}


async def test_tokenizing_as_vllm_does(rig, worker) -> None:
    client = rig.client()

    async def post(path: str, body: dict[str, object]) -> dict[str, object]:
        return await client.post(f"{rig.url}{path}", body={"model": "m"} | body, cast_to=object)

    ids = [ord(letter) - ord("a") + 1 for letter in "abc"]
    assert await post("/tokenize", {"prompt": "abc", "return_token_strs": True}) == {
        "count": 3,
        "max_model_len": 512,
        "tokens": ids,
        "token_strs": ["a", "b", "c"],
    }
    chat = await post("/tokenize", {"messages": MESSAGES})
    assert chat["count"] == len("user hello assistant ")
    assert await post("/detokenize", {"tokens": ids}) == {"prompt": "abc"}
    with pytest.raises(openai.AuthenticationError):
        await rig.client("no-key").post(f"{rig.url}/tokenize", body={}, cast_to=object)
