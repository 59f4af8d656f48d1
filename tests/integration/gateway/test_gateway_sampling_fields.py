"""Every field that shapes an answer, sent by the unmodified `openai` SDK: what the worker is told, what comes back."""

import json
import math

import pytest

from tierline.wire.frames import Grammar

MESSAGES = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


async def test_what_a_chat_asks_for_reaches_the_worker(rig, worker) -> None:
    await rig.client().chat.completions.create(
        model="m",
        messages=MESSAGES,
        max_completion_tokens=9,
        temperature=0.5,
        top_p=0.9,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logit_bias={"3": -100, "5": 7},
        seed=11,
        logprobs=True,
        top_logprobs=2,
        stop=["x", "y", "z", "q"],
        extra_body={
            "top_k": 7,
            "min_p": 0.1,
            "min_tokens": 4,
            "repetition_penalty": 1.2,
            "stop_token_ids": [26],
            "ignore_eos": True,
        },
    )
    told = worker.submits[0].sampling
    assert (told.max_tokens, told.temperature, told.top_p, told.top_k, told.min_p) == (9, 0.5, 0.9, 7, 0.1)
    assert (told.presence_penalty, told.frequency_penalty, told.repetition_penalty) == (0.5, -0.5, 1.2)
    assert (told.seed, told.min_tokens, told.stop_token_ids, told.ignore_eos) == (11, 4, (26,), True)
    assert dict(told.logit_bias) == {3: -100.0, 5: 7.0}
    assert told.logprobs == 2


async def test_a_plain_request_asks_for_nothing_special(rig, worker) -> None:
    await rig.client().completions.create(model="m", prompt="hi", max_tokens=2)
    told = worker.submits[0].sampling
    assert not told.sequential
    assert (told.logit_bias, told.logprobs, told.min_tokens, told.min_p) == ((), None, 0, 0.0)


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_logprobs(rig, worker, stream) -> None:
    answer = await rig.client().chat.completions.create(
        model="m", messages=MESSAGES, max_tokens=3, logprobs=True, top_logprobs=2, stream=stream
    )
    if stream:
        chunks = [chunk.choices[0].logprobs async for chunk in answer]
        told = [entry for one in chunks if one is not None for entry in one.content]
    else:
        told = answer.choices[0].logprobs.content
    assert [(entry.token, entry.bytes, entry.logprob) for entry in told] == [
        ("a", [97], -0.5),
        ("b", [98], -0.5),
        ("c", [99], -0.5),
    ]
    assert [(top.token, top.logprob) for top in told[1].top_logprobs] == [("b", -0.5), ("c", -1.5)]


@pytest.mark.parametrize("stream", [False, True])
async def test_completion_logprobs(rig, worker, stream) -> None:
    answer = await rig.client().completions.create(model="m", prompt="hi", max_tokens=3, logprobs=2, stream=stream)
    shaped = [chunk.choices[0].logprobs async for chunk in answer] if stream else [answer.choices[0].logprobs]
    told = [one for one in shaped if one is not None]
    assert [text for one in told for text in one.tokens] == ["a", "b", "c"]
    assert [value for one in told for value in one.token_logprobs] == [-0.5] * 3
    assert [at for one in told for at in one.text_offset] == [0, 1, 2]
    assert [top for one in told for top in one.top_logprobs][2] == {"c": -0.5, "d": -1.5}


async def test_logprobs_only_for_those_who_asked(rig, worker) -> None:
    client = rig.client()
    plain = await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=3)
    chosen = await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=3, logprobs=True)
    assert plain.choices[0].logprobs is None
    assert [entry.top_logprobs for entry in chosen.choices[0].logprobs.content] == [[], [], []]


async def test_min_tokens_holds_stop_strings_off(rig, worker) -> None:
    answer = await rig.client().completions.create(
        model="m", prompt="hi", max_tokens=60, stop=["b"], extra_body={"min_tokens": 5}
    )
    assert answer.choices[0].text == "abcdefghijklmnopqrstuvwxyza"


@pytest.mark.parametrize(
    ("fields", "grammar"),
    [
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, Grammar("json_object")),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "strict": True, "schema": SCHEMA},
                }
            },
            Grammar("json_schema", json.dumps(SCHEMA, separators=(",", ":"))),
        ),
        ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, Grammar("json_schema", json.dumps(SCHEMA))),
        ({"structured_outputs": {"json_object": True}}, Grammar("json_object")),
        ({"structured_outputs": {"regex": "[ab]+"}}, Grammar("regex", "[ab]+")),
        ({"structured_outputs": {"choice": ["yes", 'a"b']}}, Grammar("lark", 'start: "yes" | "a\\"b"')),
        ({"guided_json": SCHEMA}, Grammar("json_schema", json.dumps(SCHEMA, separators=(",", ":")))),
        ({"guided_regex": "[ab]+"}, Grammar("regex", "[ab]+")),
        ({"guided_choice": ["yes"]}, Grammar("lark", 'start: "yes"')),
        ({"guided_grammar": 'start: "x"'}, Grammar("lark", 'start: "x"')),
    ],
)
async def test_what_shapes_an_answer(rig, worker, fields, grammar) -> None:
    client = rig.client()
    await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=2, extra_body=fields)
    await client.completions.create(model="m", prompt="hi", max_tokens=2, extra_body=fields)
    assert [submit.sampling.grammar for submit in worker.submits] == [grammar, grammar]


async def test_sdk_logprobs_are_probabilities(rig, worker) -> None:
    answer = await rig.client().chat.completions.create(
        model="m", messages=MESSAGES, max_tokens=1, logprobs=True, top_logprobs=5
    )
    entry = answer.choices[0].logprobs.content[0]
    assert sum(math.exp(top.logprob) for top in entry.top_logprobs) <= 1
