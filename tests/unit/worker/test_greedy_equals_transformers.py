"""Greedy output is exactly that of transformers, for any chunking and batch mix; replay continues it exactly."""

import numpy as np
import pytest
import torch
from engine_testing import Bench
from tiny_checkpoint import write_tiny_checkpoint
from transformers import AutoModelForCausalLM

NEW_TOKENS = 24


def _prompt(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng((length, seed)).integers(0, 256, length).tolist()


def _oracle(path, prompt: list[int], new_tokens: int = NEW_TOKENS) -> list[int]:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, do_sample=False, eos_token_id=None,
        pad_token_id=0,
    )  # fmt: skip
    return out[0, len(prompt) :].tolist()


@pytest.mark.parametrize("length", [1, 3, 4, 17, 61, 375])
def test_a_request_alone_equals_the_oracle(tiny_path, length):
    assert Bench.load(tiny_path, blocks=128).generate(_prompt(length), NEW_TOKENS) == _oracle(
        tiny_path, _prompt(length)
    )


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 8, 16, 37])
def test_chunk_size_changes_nothing(tiny_bench, chunk):
    whole = tiny_bench.generate(_prompt(37), NEW_TOKENS)
    assert tiny_bench.generate(_prompt(37), NEW_TOKENS, chunk=chunk) == whole


def test_replay_continues_with_the_same_tokens_from_every_point(tiny_bench):
    prompt = _prompt(11)
    whole = tiny_bench.generate(prompt, NEW_TOKENS)
    for emitted in range(1, NEW_TOKENS):
        resumed = tiny_bench.generate([*prompt, *whole[:emitted]], NEW_TOKENS - emitted)
        assert whole[:emitted] + resumed == whole


def test_untied_embeddings_and_grouped_heads(tmp_path):
    shape = {"tie_word_embeddings": False, "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 8}
    path = write_tiny_checkpoint(tmp_path / "untied", seed=3, **shape)
    assert Bench.load(path).generate(_prompt(9), NEW_TOKENS) == _oracle(path, _prompt(9))


@pytest.mark.parametrize("seed", range(4))
def test_a_mixed_batch_gives_each_request_what_it_gets_alone(tiny_path, seed):
    random = np.random.default_rng(seed)
    bench = Bench.load(tiny_path, blocks=128)
    prompts = [_prompt(int(random.integers(1, 60)), seed) for _ in range(6)]
    alone = [bench.generate(prompt, NEW_TOKENS) for prompt in prompts]
    assert bench.generate_together(prompts, NEW_TOKENS, seed) == alone


def test_bfloat16_stays_close_to_float32(tiny_path, tiny_bench):
    low = Bench.load(tiny_path, torch.bfloat16).generate(_prompt(20), 4)
    assert low[:1] == tiny_bench.generate(_prompt(20), 4)[:1]


def test_float16_computes(tiny_path, tiny_bench):
    low = Bench.load(tiny_path, torch.float16).generate(_prompt(20), 4)
    assert low[:1] == tiny_bench.generate(_prompt(20), 4)[:1]
