"""Every edit of logits against the plain float64 definition, for any requests side by side."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling_testing import choose_with, penalised

from tierline.wire.frames import Sampling

VOCABULARY = 40
TOKENS = st.lists(st.integers(0, VOCABULARY - 1), max_size=30)
SAMPLINGS = st.builds(
    Sampling,
    max_tokens=st.just(99),
    presence_penalty=st.sampled_from([0.0, 0.5, -2.0, 2.0]),
    frequency_penalty=st.sampled_from([0.0, 0.25, -1.0]),
    repetition_penalty=st.sampled_from([1.0, 0.5, 1.3, 5.0]),
    min_tokens=st.sampled_from([0, 5, 40]),
    stop_token_ids=st.lists(st.integers(0, VOCABULARY + 5), max_size=3).map(tuple),
    logit_bias=st.dictionaries(st.integers(0, VOCABULARY - 1), st.floats(-100, 100, width=32), max_size=4).map(
        lambda bias: tuple(bias.items())
    ),
    logprobs=st.sampled_from([None, 0, 3]),
)
REQUESTS = st.lists(st.tuples(SAMPLINGS, TOKENS.filter(bool), TOKENS), min_size=1, max_size=6)


def _edited(logits: np.ndarray, sampling: Sampling, prompt: list[int], output: list[int]) -> np.ndarray:
    result = logits.astype(np.float64)
    for token, added in sampling.logit_bias:
        result[token] += added
    result = penalised(result, prompt, output, sampling)
    if len(output) < sampling.min_tokens:
        result[[token for token in sampling.stop_token_ids if token < VOCABULARY]] = -np.inf
    return result


@settings(max_examples=80)
@given(requests=REQUESTS, seed=st.integers(0, 99))
def test_edits_are_what_their_definitions_say(requests, seed):
    raw = np.random.default_rng(seed).standard_normal((len(requests), VOCABULARY)).astype(np.float32) * 3
    logits = torch.from_numpy(raw.copy())
    samplings, prompts, outputs = zip(*requests, strict=True)
    choice = choose_with(logits, samplings, prompts, outputs)
    for row, (sampling, prompt, output) in enumerate(requests):
        expected = _edited(raw[row], sampling, prompt, output)
        np.testing.assert_allclose(logits[row].numpy(), expected, rtol=2e-6, atol=2e-5)
        assert expected[choice.tokens[row]] >= expected.max() - 1e-4
        assert (row in choice.logprobs) == (sampling.logprobs is not None)


@settings(max_examples=40)
@given(requests=REQUESTS, seed=st.integers(0, 99))
def test_company_changes_no_bit(requests, seed):
    raw = torch.from_numpy(np.random.default_rng(seed).standard_normal((len(requests), VOCABULARY), np.float32))
    samplings, prompts, outputs = zip(*requests, strict=True)
    together = raw.clone()
    chosen = choose_with(together, samplings, prompts, outputs)
    for row, request in enumerate(requests):
        alone = raw[row : row + 1].clone()
        one = choose_with(alone, *([part] for part in request))
        assert torch.equal(alone[0], together[row])
        assert one.logprobs.get(0) == chosen.logprobs.get(row)
        assert one.tokens[0] == chosen.tokens[row]
