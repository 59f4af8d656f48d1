"""Sampling as the executor does it: log probabilities of the real model, and failures that stay with their request."""

import numpy as np
import pytest
import torch
from engine_testing import Bench, rows_plan
from transformers import AutoModelForCausalLM

from tierline.wire.frames import Grammar, Sampling
from tierline_worker.engine.isolation import compute_in_parts
from tierline_worker.sampling.grammars import GrammarError

PROMPT = np.random.default_rng(5).integers(0, 256, 23).tolist()


def test_logprobs_equal_the_log_softmax_of_transformers(tiny_path):
    bench = Bench.load(tiny_path)
    bench.admit(0, PROMPT, 8, Sampling(8, temperature=1.0, seed=3, logprobs=4, presence_penalty=0.5))
    told, start = [], 0
    for step in range(8):
        count = len(PROMPT) if step == 0 else 1
        sampled = bench.executor.compute(rows_plan([(0, start, count, True)]))
        start += count
        told.append((int(sampled.tokens[0]), sampled.logprobs[0][0]))
    model = AutoModelForCausalLM.from_pretrained(tiny_path, dtype=torch.float32, attn_implementation="eager")
    ids = [*PROMPT, *(token for token, _ in told)]
    with torch.inference_mode():
        expected = torch.log_softmax(model(torch.tensor([ids])).logits[0], -1)
    for at, (token, logprobs) in enumerate(told):
        row = expected[len(PROMPT) - 1 + at]
        assert logprobs.logprob == pytest.approx(float(row[token]), abs=1e-4)
        best = row.topk(4)
        assert [other for other, _ in logprobs.top] == best.indices.tolist()
        assert [value for _, value in logprobs.top] == pytest.approx(best.values.tolist(), abs=1e-4)


def test_a_grammar_that_fails_fails_its_own_request_only(tiny_path):
    """This executor has no tokenizer, so the request with a grammar cannot be served; the others must not notice."""
    bench = Bench.load(tiny_path)
    for slot in range(3):
        bench.admit(slot, PROMPT, 8, Sampling(8, grammar=Grammar("json_object") if slot == 1 else None))
    plan = rows_plan([(slot, 0, len(PROMPT), True) for slot in range(3)])
    with pytest.raises(GrammarError) as failure:
        bench.executor.compute(plan)
    sampled, errors = compute_in_parts(bench.executor, plan, failure.value)
    assert set(errors) == {1}
    assert sampled.tokens[0] == sampled.tokens[2] >= 0
