"""Reading model files: what is read, and what a person is told when a file cannot be served."""

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from engine_testing import Bench
from safetensors.numpy import save_file
from tiny_checkpoint import CONFIG, YARN, tiny_tensors, write_tiny_checkpoint
from tiny_gguf import write_tiny_gguf

from tierline_worker.errors import ModelError
from tierline_worker.model.load import load_model, open_checkpoint

PROMPT = [7, 3, 99, 200, 41]


def _refusal(path, dtype=torch.float32) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path, dtype)
    message = str(caught.value)
    assert message.startswith("model.source ")
    assert "\n" not in message
    assert "; " in message, "the fix is missing"
    return message


def test_gguf_and_directory_of_one_model_compute_the_same(tmp_path, tiny_bench):
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    assert Bench.load(path).generate(PROMPT, 16) == tiny_bench.generate(PROMPT, 16)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1"])
def test_quantised_gguf_is_close_to_the_original(tmp_path, kind):
    path = write_tiny_gguf(tmp_path / "tiny.gguf", quantisation=gguf.GGMLQuantizationType[kind])
    name = "model.layers.1.self_attn.q_proj.weight"
    original = tiny_tensors(CONFIG, 0)[name]
    read = open_checkpoint(path).tensor(name).numpy()
    tolerance = {"Q8_0": 0.01, "Q4_1": 0.08}[kind]
    assert np.abs(read - original).max() < tolerance * np.abs(original).max()


def test_stop_tokens_come_from_both_kinds_of_files(tmp_path, tiny_path):
    assert open_checkpoint(tiny_path).config.eos_token_ids == (258,)
    assert open_checkpoint(write_tiny_gguf(tmp_path / "tiny.gguf")).config.eos_token_ids == (258,)


def test_missing_path():
    assert "no such file" in _refusal(Path("/nowhere/model.gguf"))


@pytest.mark.parametrize("keep", [0, 3, 20, 500, 2000, 20_000])
def test_cut_off_gguf(tmp_path, keep):
    whole = write_tiny_gguf(tmp_path / "tiny.gguf").read_bytes()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(whole[:keep])
    assert "damaged or cut off" in _refusal(broken)


def test_damage_anywhere_in_the_head_of_a_gguf_is_refused_or_harmless(tmp_path):
    random = np.random.default_rng(1)
    whole = write_tiny_gguf(tmp_path / "tiny.gguf").read_bytes()
    broken = tmp_path / "broken.gguf"
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(0, whole.index(b"tierline.test.flags") + 1500, 3):
            damaged[place] = random.integers(256)
        broken.write_bytes(damaged)
        try:
            open_checkpoint(broken)
        except ModelError:
            refused += 1
    assert refused > 30


def test_gguf_of_random_bytes(tmp_path):
    path = tmp_path / "random.gguf"
    path.write_bytes(b"GGUF\x03\x00\x00\x00" + np.random.default_rng(0).bytes(4096))
    assert "damaged" in _refusal(path)


def test_gguf_of_another_architecture(tmp_path):
    assert "'gemma' is not supported" in _refusal(write_tiny_gguf(tmp_path / "g.gguf", architecture="gemma"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rope.scaling.type": "longrope"}, "rope scaling 'longrope' with that type"),
        ({"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}, "no number for original_max_position_embeddings"),
        (
            {"rope.scaling.type": "yarn", "rope.scaling.yarn_log_multiplier": 0.1},
            "rope scaling 'yarn' with rope.scaling.yarn_log_multiplier",
        ),
        ({"attention.key_length": 32}, "rotates 16 of 32 numbers"),
    ],
)
def test_gguf_with_metadata_that_is_not_implemented(tmp_path, fields, words):
    assert words in _refusal(write_tiny_gguf(tmp_path / "f.gguf", fields=fields))


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("blk.0.attn_output.bias", 64, "bias blk.0.attn_output.bias is not supported"),
        ("rope_freqs.weight", 7, "7 rope factors for heads of 16"),
    ],
)
def test_gguf_with_tensors_that_do_not_fit(tmp_path, name, size, words):
    extra = {name: np.ones(size, np.float32)}
    assert words in _refusal(write_tiny_gguf(tmp_path / "t.gguf", extra=extra))


def test_gguf_with_a_missing_tensor(tmp_path):
    message = _refusal(write_tiny_gguf(tmp_path / "m.gguf", leave_out="blk.1.ffn_up.weight"))
    assert "blk.1.ffn_up.weight is missing" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel is not supported"),
        ({"model_type": "qwen2"}, "LlamaForCausalLM is not supported"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 8.0}}, "rope scaling 'dynamic'"),
        ({"rope_scaling": {"rope_type": "linear"}}, "no number for factor"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 8.0}}, "no number for original_max_position_embeddings"),
        ({"rope_scaling": {**YARN["rope_scaling"], "mscale": 0.7}}, "its rope scaling sets mscale"),
        ({"rope_scaling": {**YARN["rope_scaling"], "truncate": False}}, "its rope scaling sets truncate"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "no number for low_freq_factor"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "layer_types ['linear_attention']"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"hidden_size": None}, "no number for hidden_size"),
        ({"num_attention_heads": 3, "num_key_value_heads": 2}, "do not divide"),
        ({"vocab_size": 100}, "its configuration says (100, 64)"),
    ],
)
def test_configurations_that_cannot_be_served(tmp_path, tiny_path, change, words):
    path = shutil.copytree(tiny_path, tmp_path / "model")
    (path / "config.json").write_text(json.dumps({**CONFIG, **change}))
    assert words in _refusal(path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_of_the_directory_is_missing_or_damaged(tmp_path, tiny_path, name):
    path = shutil.copytree(tiny_path, tmp_path / "model")
    (path / name).write_bytes(b"{not what it should be")
    assert name in _refusal(path)
    (path / name).unlink()
    assert name in _refusal(path)


def test_missing_and_not_finite_tensors(tmp_path):
    path = write_tiny_checkpoint(tmp_path / "model")
    tensors = tiny_tensors(CONFIG, 0)
    dropped = tensors.pop("model.layers.2.mlp.down_proj.weight")
    save_file(tensors, path / "model.safetensors")
    assert "model.layers.2.mlp.down_proj.weight is missing" in _refusal(path)
    dropped[3, 5] = np.nan
    save_file({**tensors, "model.layers.2.mlp.down_proj.weight": dropped}, path / "model.safetensors")
    assert "not finite" in _refusal(path)


def test_weights_spread_over_several_files(tmp_path, tiny_path, tiny_bench):
    path = shutil.copytree(tiny_path, tmp_path / "model")
    (path / "model.safetensors").unlink()
    tensors = tiny_tensors(CONFIG, 0)
    files = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(tensors)}
    for file in set(files.values()):
        save_file({name: value for name, value in tensors.items() if files[name] == file}, path / file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert Bench.load(path).generate(PROMPT, 8) == tiny_bench.generate(PROMPT, 8)
