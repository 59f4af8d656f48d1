"""The `openai` SDK, a gateway and a real worker process: shapes, choices and log probabilities of a real model."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import openai
import pytest
import pytest_asyncio
from gateway_rig import Rig, policy
from tiny_checkpoint import write_tiny_checkpoint
from worker_process import HOST, WorkerProcess, run_worker

from tierline.text.chat import ChatTemplate
from tierline.text.load import load_tokenizer
from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.policy_source import StaticPolicySource
from tierline_gateway.service import GatewayService
from tierline_gateway.workers.discovery import StaticDiscovery, WorkerEndpoint

MESSAGES = [{"role": "user", "content": "hello"}]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 10},
        "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 1, "maxItems": 3},
        "ok": {"type": "boolean"},
    },
    "required": ["name", "tags", "ok"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers(model: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[WorkerProcess]]:
    folders = [tmp_path_factory.mktemp(name) for name in ("w0", "w1")]
    async with run_worker(folders[0], model) as first, run_worker(folders[1], model) as second:
        for worker in (first, second):
            await worker.probe_until("/readyz", 200)
        yield [first, second]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(model: Path, workers: list[WorkerProcess]) -> AsyncIterator[Rig]:
    source, discovery = StaticPolicySource(policy()), StaticDiscovery()
    service = GatewayService(source, discovery, "demo/gw-0", fleet="fleet")
    service.own.tokenizer = load_tokenizer(model)
    servers = GatewayServers(service)
    await servers.start("127.0.0.1", 0, 0)
    service.start()
    made = Rig(source, discovery, service, servers)
    discovery.workers.append(WorkerEndpoint("w0", HOST, workers[0].wire_port))
    service.tick()
    await made.until(lambda: any(link.up for link in service.own.links))
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def client(rig: Rig) -> openai.AsyncOpenAI:
    return rig.client()


async def _chat(client, **fields):
    return await client.chat.completions.create(model="m", messages=MESSAGES, **{"max_tokens": 200, **fields})


@pytest.mark.parametrize("seed", range(3))
async def test_an_answer_follows_its_schema(client, seed):
    answer = await _chat(client, response_format=FORMAT, seed=seed, temperature=1.5)
    parsed = json.loads(answer.choices[0].message.content)
    assert answer.choices[0].finish_reason == "stop"
    assert set(parsed) == set(SCHEMA["properties"])
    assert set(parsed["tags"]) <= {"red", "green"}


async def test_a_regular_expression_and_choices_of_words(client):
    number = await _chat(client, extra_body={"structured_outputs": {"regex": "[0-9]{3}-[0-9]{4}"}})
    word = await _chat(client, extra_body={"guided_choice": ["yes", "no"]})
    assert re.fullmatch("[0-9]{3}-[0-9]{4}", number.choices[0].message.content)
    assert word.choices[0].message.content in {"yes", "no"}


@pytest.mark.parametrize("named", [False, True])
async def test_a_required_call_follows_its_parameters(rig, client, named, monkeypatch):
    # The tiny model's window is too small for what models are told of functions.
    template = ChatTemplate("{% for tool in tools %}<tool_call>{% endfor %}{{ messages[0].content }}")
    monkeypatch.setattr(rig.service.own, "tokenizer", replace(rig.service.own.tokenizer, chat_template=template))
    function = {"name": "thing", "parameters": SCHEMA}
    choice = {"type": "function", "function": {"name": "thing"}} if named else "required"
    tools = [{"type": "function", "function": function}]
    stream = await _chat(client, tools=tools, tool_choice=choice, stream=True, seed=3, temperature=1.5)
    names, arguments, content, reason = [], "", "", ""
    async for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or []:
            names += [call.function.name] if call.function.name else []
            arguments += call.function.arguments if call.index == 0 else ""
        content += chunk.choices[0].delta.content or ""
        reason = chunk.choices[0].finish_reason or reason
    assert names[0] == "thing"
    assert set(json.loads(arguments)) == {"name", "tags", "ok"}
    assert not content
    assert reason in {"tool_calls", "length"}


async def test_choices_equal_requests_with_seeds_of_their_own(client):
    fields = {"max_tokens": 40, "temperature": 1.0, "top_p": 0.95, "presence_penalty": 0.3}
    together = await _chat(client, n=4, seed=70, **fields)
    alone = await asyncio.gather(*(_chat(client, seed=70 + at, **fields) for at in range(4)))
    assert [choice.message.content for choice in together.choices] == [
        answer.choices[0].message.content for answer in alone
    ]
    assert len({choice.message.content for choice in together.choices}) > 1
    assert together.usage.prompt_tokens == alone[0].usage.prompt_tokens


async def test_logprobs_add_up(client):
    answer = await _chat(client, max_tokens=12, logprobs=True, top_logprobs=3, temperature=0)
    told = answer.choices[0].logprobs.content
    assert len(told) == answer.usage.completion_tokens
    for entry in told:
        assert entry.logprob == entry.top_logprobs[0].logprob, "a greedy token is the most probable one"
        assert bytes(entry.bytes).decode(errors="replace") == entry.token


async def test_min_tokens_and_bias_shape_the_answer(client):
    banned = await _chat(
        client, max_tokens=30, temperature=1.0, seed=2, logit_bias={str(token): -100 for token in range(256)}
    )
    assert banned.choices[0].message.content == ""
    chosen = await _chat(client, max_tokens=8, temperature=0, logit_bias={"65": 100})
    assert len(set(chosen.choices[0].message.content)) == 1
    held = await _chat(client, max_tokens=30, temperature=0, logit_bias={"258": 100}, extra_body={"min_tokens": 9})
    assert held.usage.completion_tokens == 10


async def test_shaped_choices_survive_the_loss_of_their_worker(rig, client, workers):
    """Runs last: it ends the first worker in the middle of four answers."""
    fields = {"response_format": FORMAT, "temperature": 1.2, "seed": 5, "n": 4, "logprobs": True, "max_tokens": 300}
    undisturbed = await _chat(client, **fields)
    asking = asyncio.create_task(_chat(client, **fields))
    dispatcher = rig.service.own.dispatcher
    await rig.until(lambda: sum(len(live.journal.emitted_ids) > 2 for live in dispatcher.live) >= 2)
    workers[0].process.kill()
    rig.discovery.workers[:] = [WorkerEndpoint("w1", HOST, workers[1].wire_port)]
    rig.service.tick()
    answer = await asking
    assert [choice.message.content for choice in answer.choices] == [
        choice.message.content for choice in undisturbed.choices
    ]
    for choice in answer.choices:
        assert set(json.loads(choice.message.content)) == set(SCHEMA["properties"])
        told = b"".join(bytes(entry.bytes) for entry in choice.logprobs.content[:-1])
        assert told.decode() == choice.message.content
