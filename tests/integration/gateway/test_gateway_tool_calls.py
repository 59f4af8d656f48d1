"""Functions called through the unmodified `openai` SDK, streamed and whole."""

import asyncio
import json
import re
from dataclasses import replace

import openai
import pytest
from character_tokenizer import WINDOW_TOKENS, character_tokenizer
from tool_templates import CODER_LIKE, LLAMA_LIKE, QWEN_LIKE

MESSAGES = [{"role": "user", "content": "warm in Rome?"}]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
STRICT = {"type": "function", "function": TOOL["function"] | {"strict": True}}
ROME = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
OSLO = ROME.replace("Rome", "Oslo")


@pytest.fixture
def answering(rig, make_worker):
    """Make a worker that writes an answer, a character a token."""

    async def make(answer: str, template: str = QWEN_LIKE, name: str = "w0", **options: object):
        rig.service.own.tokenizer = character_tokenizer(template)
        ids = rig.service.own.tokenizer.encode(answer)
        return await make_worker(name, answer=ids, max_model_tokens=WINDOW_TOKENS, **options)

    return make


def ask(rig, **fields):
    return rig.client().chat.completions.create(**{"model": "m", "messages": MESSAGES, "tools": [TOOL]} | fields)


async def test_a_whole_answer_with_calls(rig, answering) -> None:
    worker = await answering(f"Let me see.\n{ROME}\n{OSLO}")
    choice = (await ask(rig)).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see."
    assert [call.function.name for call in choice.message.tool_calls] == ["weather", "weather"]
    assert [json.loads(call.function.arguments)["city"] for call in choice.message.tool_calls] == ["Rome", "Oslo"]
    ids = {call.id for call in choice.message.tool_calls}
    assert len(ids) == 2
    assert all(re.fullmatch("call_[0-9a-f]{24}", one) for one in ids)
    prompt = rig.service.own.tokenizer.decode(worker.submits[0].prompt_ids)
    assert '"name": "weather"' in prompt
    assert worker.submits[0].sampling.grammar is None


async def test_a_streamed_answer_names_first_and_leaks_no_markup(rig, answering) -> None:
    await answering(f"Let me see.\n{ROME}\n{OSLO}")
    content, calls, reasons = "", {}, []
    async for chunk in await ask(rig, stream=True):
        choice = chunk.choices[0]
        content += choice.delta.content or ""
        reasons += [choice.finish_reason] if choice.finish_reason else []
        for call in choice.delta.tool_calls or []:
            if call.function.name:
                assert (call.index, call.type, call.function.arguments) == (len(calls), "function", "")
                calls[call.index] = ["", call.id]
            else:
                assert call.id is None
                calls[call.index][0] += call.function.arguments
    assert content == "Let me see."
    assert [json.loads(arguments) for arguments, _ in calls.values()] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert reasons == ["tool_calls"]


async def test_the_sdks_own_accumulation(rig, answering) -> None:
    await answering(ROME)
    client = rig.client()
    async with client.chat.completions.stream(model="m", messages=MESSAGES, tools=[STRICT]) as stream:
        names = [event.type async for event in stream]
        final = await stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in names
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"city": "Rome"}'


async def test_a_stream_that_moves_in_the_middle_of_a_call(rig, answering) -> None:
    first = await answering(ROME, period_s=0.003)
    asking = asyncio.create_task(ask(rig, stream=True))
    middle = ROME.index("Rome") + 2
    await first.wait_for(lambda: any(len(ids) > middle for _, ids in first.held.values()))
    second = await answering(ROME, name="w1")
    await first.kill()
    arguments = [
        call.function.arguments async for chunk in await asking for call in chunk.choices[0].delta.tool_calls or []
    ]
    assert json.loads("".join(arguments)) == {"city": "Rome"}
    assert len(second.submits[0].emitted_ids) > middle


async def test_one_call_only_ends_the_answer_there(rig, answering) -> None:
    worker = await answering(f"{ROME}\n{OSLO}" + " and so on" * 50)
    choice = (await ask(rig, parallel_tool_calls=False)).choices[0]
    assert [call.function.arguments for call in choice.message.tool_calls] == ['{"city": "Rome"}']
    assert choice.finish_reason == "tool_calls"
    await worker.wait_for(lambda: bool(worker.cancels))


@pytest.mark.parametrize(
    ("fields", "start"),
    [
        ({"tool_choice": "required"}, 'start: "<tool_call>" calls'),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, 'start: "<tool_call>" calls'),
        ({"tools": [STRICT]}, "start: TEXT | begin calls"),
        ({"response_format": {"type": "json_object"}}, 'start: answer | "<tool_call>" calls'),
    ],
)
async def test_what_is_demanded_is_enforced_by_a_grammar(rig, answering, fields, start) -> None:
    worker = await answering(ROME)
    answer = await ask(rig, **fields)
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"
    grammar = worker.submits[0].sampling.grammar
    assert grammar.kind == "lark"
    assert grammar.text.startswith(start)


async def test_a_named_function_is_the_only_one(rig, answering) -> None:
    worker = await answering(ROME)
    other = {"type": "function", "function": {"name": "time"}}
    await ask(rig, tools=[TOOL, other], tool_choice={"type": "function", "function": {"name": "weather"}})
    assert '"name\\": \\"time' not in worker.submits[0].sampling.grammar.text
    assert '"name": "time"' in rig.service.own.tokenizer.decode(worker.submits[0].prompt_ids)


async def test_none_hides_the_tools_and_reads_no_calls(rig, answering) -> None:
    worker = await answering(ROME)
    choice = (await ask(rig, tool_choice="none")).choices[0]
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == (ROME, None, "stop")
    assert "weather" not in rig.service.own.tokenizer.decode(worker.submits[0].prompt_ids)


async def test_calls_and_results_go_back_into_the_prompt(rig, answering) -> None:
    worker = await answering("It is warm.")
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    history = [
        *MESSAGES,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "21 C"}]},
    ]
    choice = (await ask(rig, messages=history)).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("It is warm.", "stop")
    prompt = rig.service.own.tokenizer.decode(worker.submits[0].prompt_ids)
    assert '{"name": "weather", "arguments": {"city": "Rome"}}' in prompt
    assert "<tool_response>\n21 C\n</tool_response>" in prompt


async def test_each_choice_has_calls_of_its_own(rig, answering) -> None:
    await answering(ROME)
    answer = await ask(rig, n=2)
    ids = [choice.message.tool_calls[0].id for choice in answer.choices]
    assert len(set(ids)) == 2


async def test_logprobs_and_ids_count_every_token_of_a_call(rig, answering) -> None:
    await answering(ROME)
    tokens, ids = 0, 0
    async for chunk in await ask(rig, stream=True, logprobs=True, extra_body={"return_token_ids": True}):
        choice = chunk.choices[0]
        tokens += len(choice.logprobs.content) if choice.logprobs else 0
        ids += len(choice.model_extra.get("token_ids") or ())
    assert tokens == ids == len(ROME) + 1


async def test_a_cut_call_ends_by_length(rig, answering) -> None:
    await answering(ROME)
    choice = (await ask(rig, max_tokens=ROME.index("Rome"))).choices[0]
    assert choice.finish_reason == "length"
    assert choice.message.tool_calls[0].function.arguments == '{"city": "'


async def test_llamas_form(rig, answering) -> None:
    await answering('{"name": "weather", "parameters": {"city": "Rome"}}', LLAMA_LIKE)
    choice = (await ask(rig)).choices[0]
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
    assert choice.message.tool_calls[0].function.arguments == '{"city": "Rome"}'
    with pytest.raises(openai.BadRequestError, match="together with this shape"):
        await ask(rig, response_format={"type": "json_object"})


async def test_a_fleet_may_say_which_form_its_model_writes(rig, answering) -> None:
    await answering(ROME, CODER_LIKE)
    snapshot = rig.source.current
    model = replace(snapshot.policy.models["m"], tool_call_format="Hermes")
    rig.source.current = replace(snapshot, policy=replace(snapshot.policy, models={"m": model}))
    assert (await ask(rig)).choices[0].message.tool_calls[0].function.name == "weather"


async def test_an_unknown_form_is_refused(rig, answering) -> None:
    await answering("x", CODER_LIKE)
    with pytest.raises(
        openai.BadRequestError, match=r"none of the forms Hermes, Llama3, Mistral; .*spec\.model\.toolCallFormat"
    ):
        await ask(rig)
