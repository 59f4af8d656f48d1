"""The unmodified `openai` SDK against the gateway."""

import openai
import pytest

MESSAGES = [{"role": "user", "content": "hello"}]


async def test_a_chat_answer(rig, worker) -> None:
    answer = await rig.client().chat.completions.create(model="m", messages=MESSAGES, max_tokens=5, temperature=0)
    assert answer.choices[0].message.content == "abcde"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5
    assert answer.usage.prompt_tokens == len("user hello assistant ")
    assert worker.submits[0].sampling.temperature == 0


async def test_a_streamed_chat_answer_with_usage(rig, worker) -> None:
    stream = await rig.client().chat.completions.create(
        model="m", messages=MESSAGES, max_tokens=30, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "abcdefghijklmnopqrstuvwxyzabcd"
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == 30
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_a_completion_with_stop_string(rig, worker) -> None:
    answer = await rig.client().completions.create(model="m", prompt="hi", max_tokens=100, stop=["ef"])
    assert answer.choices[0].text == "abcd"
    assert answer.choices[0].finish_reason == "stop"
    await worker.wait_for(lambda: bool(worker.cancels))
    assert not worker.held


async def test_the_models_own_end_stops(rig, make_worker) -> None:
    await make_worker("w0", stop_at=3)
    answer = await rig.client().completions.create(model="m", prompt="hi", max_tokens=100)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("abc", "stop")


async def test_ignore_eos_and_token_ids(rig, make_worker) -> None:
    await make_worker("w0", stop_at=3)
    answer = await rig.client().completions.create(
        model="m", prompt=[8, 9], max_tokens=6, extra_body={"ignore_eos": True, "return_token_ids": True}
    )
    choice = answer.choices[0].model_dump()
    assert choice["token_ids"] == [1, 2, 3, 0, 5, 6]
    assert choice["prompt_token_ids"] == [8, 9]
    assert choice["finish_reason"] == "length"


async def test_streamed_token_ids_are_all_there(rig, worker) -> None:
    stream = await rig.client().chat.completions.create(
        model="m", messages=MESSAGES, max_tokens=9, stream=True, extra_body={"return_token_ids": True}
    )
    chunks = [chunk.model_dump() async for chunk in stream]
    ids = [token for chunk in chunks for choice in chunk["choices"] for token in choice.get("token_ids") or []]
    assert ids == list(range(1, 10))
    assert len(chunks[0]["prompt_token_ids"]) == len("user hello assistant ")


async def test_models(rig) -> None:
    client = rig.client()
    assert [model.id async for model in client.models.list()] == ["m"]
    assert (await client.models.retrieve("m")).id == "m"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("other")


async def test_the_default_limit_is_what_the_window_leaves(rig, worker) -> None:
    await rig.client().chat.completions.create(model="m", messages=MESSAGES, stop="b")
    assert worker.submits[0].sampling.max_tokens == 512 - len("user hello assistant ")


async def test_a_seed_is_drawn_when_none_is_given(rig, worker) -> None:
    client = rig.client()
    await client.completions.create(model="m", prompt="hi", max_tokens=1, seed=42)
    await client.completions.create(model="m", prompt="hi", max_tokens=1)
    await client.completions.create(model="m", prompt="hi", max_tokens=1)
    seeds = [submit.sampling.seed for submit in worker.submits]
    assert seeds[0] == 42
    assert len(set(seeds)) == 3
