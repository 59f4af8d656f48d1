"""Each model family gives the greedy tokens of transformers: whole, in chunks, in a batch, from both kinds of files."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from engine_testing import Bench
from tiny_checkpoint import LINEAR, LLAMA3, MISTRAL, QWEN2, QWEN3, SMOLLM2, YARN, write_tiny_checkpoint
from tiny_gguf import write_tiny_gguf
from transformers import AutoModelForCausalLM

from tierline_worker.model.load import open_checkpoint

NEW_TOKENS = 24
LENGTHS = (1, 9, 90)
UNTIED = {"tie_word_embeddings": False}
FAMILIES = {
    "llama-wide-heads": {"head_dim": 32, **UNTIED},
    "llama3": LLAMA3,
    "llama-linear": LINEAR,
    "smollm2": SMOLLM2,
    "mistral": {**MISTRAL, **UNTIED},
    "qwen2": QWEN2,
    "qwen2-untied-yarn": {**QWEN2, **YARN, **UNTIED},
    "qwen3": QWEN3,
    "qwen3-wide-heads": {**QWEN3, "head_dim": 32, **UNTIED},
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def path(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp(family) / "model", **FAMILIES[family])


@pytest.fixture(scope="module")
def expected(path: Path) -> list[list[int]]:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    return [_greedy(model, _prompt(length)) for length in LENGTHS]


def _prompt(length: int) -> list[int]:
    return np.random.default_rng(length).integers(0, 256, length).tolist()


def _greedy(model: torch.nn.Module, prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None,
        pad_token_id=0,
    )  # fmt: skip
    return out[0, len(prompt) :].tolist()


@pytest.mark.parametrize("chunk", [1000, 1, 7])
def test_requests_alone(path, expected, chunk):
    bench = Bench.load(path)
    assert [bench.generate(_prompt(length), NEW_TOKENS, chunk=chunk) for length in LENGTHS] == expected


def test_a_mixed_batch(path, expected):
    bench = Bench.load(path, blocks=128)
    assert bench.generate_together([_prompt(length) for length in LENGTHS], NEW_TOKENS, seed=1) == expected


def test_gguf_of_the_same_weights(tmp_path, family, expected):
    extra, fields = {}, {}
    changes = dict(FAMILIES[family])
    scaling = changes.pop("rope_scaling", {})
    if scaling.get("rope_type") == "llama3":
        extra["rope_freqs.weight"] = _published_rope_factors(scaling, theta=10_000.0, head_dim=16)
    elif scaling:
        fields = {"rope.scaling.type": scaling["rope_type"], "rope.scaling.factor": scaling["factor"]}
    if scaling.get("rope_type") == "yarn":
        fields["rope.scaling.original_context_length"] = scaling["original_max_position_embeddings"]
    bench = Bench.load(write_tiny_gguf(tmp_path / "tiny.gguf", extra=extra, fields=fields, **changes))
    assert [bench.generate(_prompt(length), NEW_TOKENS) for length in LENGTHS] == expected


def _published_rope_factors(scaling: dict, theta: float, head_dim: int) -> np.ndarray:
    """Return what converters write into Llama 3 files, by wave lengths."""
    factors = []
    for pair in range(head_dim // 2):
        wave = 2 * np.pi * theta ** (2 * pair / head_dim)
        trained, factor = scaling["original_max_position_embeddings"], scaling["factor"]
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        kept = min(max((trained / wave - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - kept) / factor + kept))
    assert min(factors) == 1.0
    assert max(factors) == factor
    return np.array(factors, np.float32)


@pytest.mark.parametrize(
    ("changes", "longest"),
    [
        ({**MISTRAL, "sliding_window": 40}, 40),
        ({**QWEN2, "sliding_window": 40}, 512),
        ({**QWEN2, "sliding_window": 40, "use_sliding_window": True}, 40),
    ],
)
def test_the_context_ends_where_a_sliding_window_would_begin_to_slide(tmp_path, changes, longest):
    path = write_tiny_checkpoint(tmp_path / "model", **changes)
    assert open_checkpoint(path).config.max_positions == longest
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    prompt = _prompt(40 - NEW_TOKENS)
    assert Bench.load(path).generate(prompt, NEW_TOKENS) == _greedy(model, prompt)


def test_a_sliding_window_in_gguf(tmp_path):
    path = write_tiny_gguf(tmp_path / "tiny.gguf", fields={"attention.sliding_window": 40}, **MISTRAL)
    assert open_checkpoint(path).config.max_positions == 40


def test_quantised_weights_of_a_family_with_biases(tmp_path):
    path = write_tiny_gguf(tmp_path / "tiny.gguf", quantisation=gguf.GGMLQuantizationType.Q8_0, **QWEN2)
    assert len(Bench.load(path).generate(_prompt(9), 4)) == 4
