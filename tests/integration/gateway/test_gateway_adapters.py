"""Adapters as clients see them: named as in vLLM, listed, allowed by the tenant's quota, routed to who serves them."""

import asyncio

import aiohttp
import openai
import pytest
from fake_wire_worker import answer_text
from gateway_rig import policy, tenant

from tierline.wire.frames import AdapterState, NackReason

POEMS, CODE = AdapterState("poems", resident=True), AdapterState("code")


@pytest.fixture
def rig(rig):
    rig.source.current = policy(tenants=[tenant("acme", adapters=("poems", "code")), tenant("zeta")])
    return rig


def ask(client: openai.AsyncOpenAI, model: str, tokens: int = 3):
    messages = [{"role": "user", "content": "hi"}]
    return client.chat.completions.create(model=model, messages=messages, max_tokens=tokens)


@pytest.mark.parametrize("name", ["poems", "m:poems"])
async def test_both_names_reach_the_adapter(rig, make_worker, name):
    worker = await make_worker("w0", adapters=(POEMS,))
    answer = await ask(rig.client(), name)
    assert answer.choices[0].message.content == answer_text(3)
    assert answer.model == name
    assert [frame.adapter for frame in worker.submits] == ["poems"]


async def test_the_model_alone_has_no_adapter(rig, make_worker):
    worker = await make_worker("w0", adapters=(POEMS,))
    await ask(rig.client(), "m")
    assert [frame.adapter for frame in worker.submits] == [""]


@pytest.mark.parametrize("name", ["pink", "m:pink", "other:poems", "m:", ":pink", "m:poems:x"])
async def test_unknown_names(rig, make_worker, name):
    await make_worker("w0", adapters=(POEMS,))
    with pytest.raises(openai.NotFoundError) as caught:
        await ask(rig.client(), name)
    assert caught.value.code == "model_not_found"
    assert repr(name) in str(caught.value)
    assert "poems" in str(caught.value)


async def test_a_tenant_uses_only_its_own(rig, make_worker):
    await make_worker("w0", adapters=(POEMS,))
    with pytest.raises(openai.PermissionDeniedError) as caught:
        await ask(rig.client("key-zeta"), "poems")
    assert caught.value.response.headers["x-tierline-reason"] == "AdapterNotAllowed"
    assert "adapterRefs" in str(caught.value)


async def test_models_lists_what_the_tenant_may_use_and_workers_serve(rig, make_worker):
    worker = await make_worker("w0", adapters=(POEMS,))
    listed = {model.id: model for model in (await rig.client().models.list()).data}
    assert set(listed) == {"m", "poems"}
    assert listed["poems"].parent == "m"
    assert [model.id for model in (await rig.client("key-zeta").models.list()).data] == ["m"]
    assert (await rig.client().models.retrieve("poems")).id == "poems"
    with pytest.raises(openai.NotFoundError):
        await rig.client().models.retrieve("code")
    await worker.serves(POEMS, CODE)
    await rig.until(lambda: rig.service.own.links.adapters == {"poems", "code"})
    assert {model.id for model in (await rig.client().models.list()).data} == {"m", "poems", "code"}


async def test_requests_go_where_the_adapter_is_served_and_rather_where_it_is_resident(rig, make_worker):
    without = await make_worker("a-without")
    cold = await make_worker("b-cold", adapters=(AdapterState("poems"),))
    warm = await make_worker("c-warm", adapters=(POEMS,))
    await ask(rig.client(), "poems")
    assert (len(without.submits), len(cold.submits), len(warm.submits)) == (0, 0, 1)


async def test_a_worker_that_lost_it_meanwhile_sends_the_request_elsewhere(rig, make_worker):
    first = await make_worker("a", adapters=(POEMS,), nack=NackReason.UNKNOWN_ADAPTER)
    second = await make_worker("b", adapters=(AdapterState("poems"),))
    answer = await ask(rig.client(), "poems")
    assert answer.choices[0].message.content == answer_text(3)
    assert (len(first.submits), len(second.submits)) == (1, 1)


async def test_when_the_last_worker_lost_it_the_client_hears_which(rig, make_worker):
    await make_worker("a", adapters=(POEMS,), nack=NackReason.UNKNOWN_ADAPTER)
    with pytest.raises(openai.NotFoundError) as caught:
        await ask(rig.client(), "poems")
    assert "'poems'" in str(caught.value)
    assert caught.value.code == "model_not_found"


async def test_a_request_that_waits_while_its_adapter_is_unloaded(rig, make_worker):
    worker = await make_worker("a", adapters=(POEMS,), requests=0)
    asking = asyncio.create_task(ask(rig.client(), "poems"))
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 1)
    await worker.serves()
    with pytest.raises(openai.NotFoundError):
        await asking


async def test_before_any_worker_is_connected_the_quota_says_what_may_come(rig, make_worker):
    asking = asyncio.create_task(ask(rig.client(), "poems"))
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 1)
    await make_worker("a", adapters=(POEMS,))
    assert (await asking).choices[0].message.content == answer_text(3)


async def test_completions_too(rig, make_worker):
    await make_worker("w0", adapters=(POEMS,))
    body = {"model": "m:poems", "prompt": "hi", "max_tokens": 2}
    headers = {"Authorization": "Bearer key-acme"}
    async with aiohttp.ClientSession() as session, session.post(
        f"{rig.url}/v1/completions", json=body, headers=headers
    ) as answer:  # fmt: skip
        assert (await answer.json())["model"] == "m:poems"


async def test_a_stream_moves_only_to_who_serves_its_adapter(rig, make_worker):
    first = await make_worker("a", adapters=(POEMS,), period_s=0.02)
    asking = asyncio.create_task(ask(rig.client(), "poems", 20))
    await first.wait_for(lambda: any(len(ids) > 2 for _, ids in first.held.values()))
    without = await make_worker("b")
    second = await make_worker("c", adapters=(AdapterState("poems"),))
    await first.kill()
    rig.discovery.workers = [endpoint for endpoint in rig.discovery.workers if endpoint.name != "a"]
    rig.service.tick()
    assert (await asking).choices[0].message.content == answer_text(20)
    assert (len(without.submits), second.submits[0].adapter) == (0, "poems")
