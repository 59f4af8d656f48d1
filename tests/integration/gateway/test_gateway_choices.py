"""Several choices of one answer: seeds, shapes, what is counted, and that each survives its worker."""

import asyncio

import pytest
from gateway_rig import policy, tenant, tier

PROMPT = "hello"


async def test_choices_are_forks_with_seeds_of_their_own(rig, worker) -> None:
    answer = await rig.client().completions.create(model="m", prompt=PROMPT, max_tokens=4, n=3, seed=40)
    assert [(choice.index, choice.text) for choice in answer.choices] == [(0, "abcd"), (1, "abcd"), (2, "abcd")]
    assert [submit.sampling.seed for submit in worker.submits] == [40, 41, 42]
    first, *forks = worker.submits
    assert first.fork_of == ""
    assert [fork.fork_of for fork in forks] == [first.request_id] * 2
    assert len({submit.request_id for submit in worker.submits}) == 3
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(PROMPT), 12)


async def test_streamed_choices_carry_their_index(rig, worker) -> None:
    stream = await rig.client().chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": PROMPT}],
        max_tokens=5,
        n=2,
        stream=True,
        stream_options={"include_usage": True},
    )
    texts, roles, ends = {0: "", 1: ""}, [], []
    async for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            roles += [choice.index] if choice.delta.role else []
            ends += [(choice.index, choice.finish_reason)] if choice.finish_reason else []
        usage = chunk.usage
    assert texts == {0: "abcde", 1: "abcde"}
    assert roles == [0, 1]
    assert sorted(ends) == [(0, "length"), (1, "length")]
    assert usage.completion_tokens == 10


async def test_every_choice_survives_the_loss_of_its_worker(rig, make_worker) -> None:
    first = await make_worker("w0", period_s=0.005)
    asking = asyncio.create_task(
        rig.client().completions.create(model="m", prompt=PROMPT, max_tokens=60, n=3, logprobs=0, seed=1)
    )
    await first.wait_for(lambda: len(first.held) == 3 and all(len(ids) > 5 for _, ids in first.held.values()))
    second = await make_worker("w1")
    await first.kill()
    answer = await asking
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    assert [choice.text for choice in answer.choices] == [(alphabet * 3)[:60]] * 3
    assert [len(choice.logprobs.tokens) for choice in answer.choices] == [60] * 3
    assert sorted(submit.sampling.seed for submit in second.submits) == [1, 2, 3]
    assert all(len(submit.emitted_ids) > 5 for submit in second.submits)
    assert {bool(submit.fork_of) for submit in second.submits} == {False, True}


async def test_choices_beyond_the_workers_slots_wait_for_their_siblings(rig, make_worker) -> None:
    rig.source.current = policy([tier("interactive", 1, max_queue_ms=100)], [tenant("acme", tiers=("interactive",))])
    await make_worker("w0", requests=2, period_s=0.01)
    answer = await rig.client().completions.create(model="m", prompt=PROMPT, max_tokens=20, n=5)
    assert [len(choice.text) for choice in answer.choices] == [20] * 5


async def test_one_choice_that_fails_fails_the_answer_and_frees_the_others(rig, make_worker) -> None:
    worker = await make_worker("w0", fail_at=3)
    with pytest.raises(Exception, match="out of luck"):
        await rig.client().completions.create(model="m", prompt=PROMPT, max_tokens=50, n=3)
    await worker.wait_for(lambda: not worker.held)
    assert not list(rig.service.own.dispatcher.live)


async def test_a_tenant_pays_the_prompt_once_and_each_output(rig, worker) -> None:
    rig.source.current = policy(tenants=[tenant("acme", max_concurrent_requests=1)])
    client = rig.client()
    for _ in range(2):
        await client.completions.create(model="m", prompt=PROMPT, max_tokens=6, n=4)
    ledger = rig.service.ledger
    assert ledger.billed_prompt_tokens["acme"] == 2 * len(PROMPT)
    assert ledger.billed_output_tokens["acme"] == 2 * 4 * 6
    assert ledger.usage(tenant("acme")).concurrent == 0


async def test_a_refused_answer_leaves_nothing(rig, worker) -> None:
    rig.source.current = policy(tenants=[tenant("acme", max_concurrent_requests=0)])
    with pytest.raises(Exception, match="maxConcurrentRequests"):
        await rig.client().completions.create(model="m", prompt=PROMPT, max_tokens=6, n=4)
    assert not worker.submits
    assert not list(rig.service.own.dispatcher.live)
    assert not len(rig.service.own.dispatcher.queue)
