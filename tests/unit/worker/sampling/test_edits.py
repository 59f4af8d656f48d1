"""Penalties, bias, min_tokens and log probabilities: examples, and transformers' processors where it has them."""

import numpy as np
import pytest
import torch
from sampling_testing import choose_with
from transformers import (
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tierline.wire.frames import Sampling
from tierline_worker.sampling.limits import Limits, limit

PROMPT, OUTPUT = [3, 1, 4, 1, 5], [9, 2, 6, 5, 3]


def _logits(rows: int = 1, vocabulary: int = 64) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(8)) * 3


def _edited(sampling: Sampling, prompt: list[int] = PROMPT, output: list[int] = OUTPUT) -> torch.Tensor:
    logits = _logits()
    choose_with(logits, [sampling], [prompt], [output])
    return logits


def test_openai_penalties_count_the_output_only():
    """c[j] of OpenAI's formula mu[j] - c[j] * frequency - (c[j] > 0) * presence counts generated tokens."""
    edited = _edited(Sampling(9, frequency_penalty=0.5, presence_penalty=0.25), [7, 7, 7], [8, 8])
    expected = _logits()
    expected[0, 8] -= 2 * 0.5 + 0.25
    torch.testing.assert_close(edited, expected)


def test_repetition_penalty_equals_that_of_transformers():
    ids = torch.tensor([PROMPT + OUTPUT])
    torch.testing.assert_close(
        _edited(Sampling(9, repetition_penalty=1.7)), RepetitionPenaltyLogitsProcessor(1.7)(ids, _logits())
    )


def test_logit_bias_equals_that_of_transformers():
    expected = SequenceBiasLogitsProcessor({(5,): 2.5, (60,): -100.0})(torch.tensor([PROMPT]), _logits())
    torch.testing.assert_close(_edited(Sampling(9, logit_bias=((5, 2.5), (60, -100.0)))), expected)


@pytest.mark.parametrize("min_tokens", [5, 6])
def test_min_tokens_equals_that_of_transformers(min_tokens):
    oracle = MinNewTokensLengthLogitsProcessor(len(PROMPT), min_tokens, [11, 12])
    expected = oracle(torch.tensor([PROMPT + OUTPUT]), _logits())
    torch.testing.assert_close(_edited(Sampling(9, min_tokens=min_tokens, stop_token_ids=(11, 12))), expected)


@pytest.mark.parametrize(
    ("limits", "warper"),
    [
        ((7, 1.0, 0.0), TopKLogitsWarper(7)),
        ((0, 0.8, 0.0), TopPLogitsWarper(0.8)),
        ((0, 1.0, 0.1), MinPLogitsWarper(0.1)),
    ],
)
@pytest.mark.parametrize("vocabulary", [64, 3000])
def test_limits_keep_what_transformers_keeps(limits, warper, vocabulary):
    logits = TemperatureLogitsWarper(2.5)(None, _logits(5, vocabulary))
    probabilities = torch.softmax(logits, -1)
    top_k, top_p, min_p = limits
    ours = limit(probabilities, Limits(np.full(5, top_k), np.full(5, top_p, np.float32), np.full(5, min_p, np.float32)))
    assert torch.equal(ours > 0, torch.isfinite(warper(None, logits)))
    assert torch.equal(ours[ours > 0], probabilities[ours > 0])


def test_logprobs_are_of_the_models_own_distribution():
    sampling = Sampling(9, temperature=2.0, top_k=2, logit_bias=((5, 50.0),), presence_penalty=1.0, logprobs=3)
    choice = choose_with(_logits(), [sampling], [PROMPT], [OUTPUT])
    expected = torch.log_softmax(_logits().double(), -1)[0]
    told = choice.logprobs[0]
    assert choice.tokens[0] == 5, "the bias chose it"
    assert told.logprob == pytest.approx(float(expected[5]), abs=1e-5)
    best = expected.topk(3)
    assert [token for token, _ in told.top] == best.indices.tolist()
    assert [value for _, value in told.top] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_only_those_who_asked_are_told():
    samplings = [Sampling(9), Sampling(9, logprobs=0), Sampling(9, logprobs=20)]
    choice = choose_with(_logits(3), samplings, [PROMPT] * 3, [OUTPUT] * 3)
    assert {row: len(told.top) for row, told in choice.logprobs.items()} == {1: 0, 2: 20}


@pytest.mark.parametrize(
    ("sampling", "sequential"),
    [
        (Sampling(9), False),
        (Sampling(9, temperature=1.0, top_p=0.5, min_p=0.1, min_tokens=5, logprobs=2, logit_bias=((1, 1.0),)), False),
        (Sampling(9, presence_penalty=0.1), True),
        (Sampling(9, frequency_penalty=-0.1), True),
        (Sampling(9, repetition_penalty=1.1), True),
    ],
)
def test_only_what_depends_on_the_answer_so_far_is_sequential(sampling, sequential):
    assert sampling.sequential is sequential
