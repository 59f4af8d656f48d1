"""PEFT folders: what is read, and what is refused with the key that cannot be served."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tiny_adapter import write_tiny_adapter

from tierline_worker.adapters.pages import paginate
from tierline_worker.adapters.peft import read_peft
from tierline_worker.errors import AdapterError
from tierline_worker.model.config import ModelConfig
from tierline_worker.model.load import open_checkpoint


@pytest.fixture(scope="module")
def model(tiny_path: Path) -> ModelConfig:
    return open_checkpoint(tiny_path).config


def changed_config(folder: Path, **changes: object) -> Path:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def changed_tensors(folder: Path, changes: dict[str, np.ndarray | None]) -> Path:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path) | {name: tensor for name, tensor in changes.items() if tensor is not None}
    save_file({name: tensor for name, tensor in tensors.items() if changes.get(name, tensor) is not None}, path)
    return folder


def layer_0(module: str, side: str) -> str:
    return f"base_model.model.model.layers.0.{module}.lora_{side}.weight"


def refusal(folder: Path, model: ModelConfig, max_rank: int = 64) -> str:
    with pytest.raises(AdapterError) as caught:
        read_peft(folder, model, max_rank)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def folder(tiny_path: Path, tmp_path: Path) -> Path:
    return write_tiny_adapter(tmp_path / "adapter", tiny_path, 1)


def test_the_scale_is_alpha_over_rank(folder, model):
    weights = read_peft(folder, model, 64)
    stored = load_file(folder / "adapter_model.safetensors")
    module = weights.modules[0, "self_attn.q_proj"]
    assert torch.equal(module.down, torch.from_numpy(stored[layer_0("self_attn.q_proj", "A")]))
    assert torch.allclose(module.up, 2.0 * torch.from_numpy(stored[layer_0("self_attn.q_proj", "B")]))
    assert len(weights.modules) == 7 * model.layers


def test_rank_stabilised_scale_is_alpha_over_its_root(folder, model):
    plain = read_peft(folder, model, 64).modules[0, "mlp.up_proj"]
    stabilised = read_peft(changed_config(folder, use_rslora=True), model, 64).modules[0, "mlp.up_proj"]
    assert torch.allclose(stabilised.up, plain.up * 2.0)


def test_the_digest_is_of_the_content(folder, model, tiny_path, tmp_path):
    digest = read_peft(folder, model, 64).digest
    same = write_tiny_adapter(tmp_path / "same", tiny_path, 1)
    assert read_peft(same, model, 64).digest == digest
    assert read_peft(changed_config(same, lora_alpha=9), model, 64).digest != digest


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
        ({"r": 0}, "a rank of 0"),
        ({"r": 65}, "TIERLINE_MAX_ADAPTER_RANK"),
        ({"r": "8"}, "r is '8'"),
        ({"lora_alpha": None}, "lora_alpha"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"rank_pattern": {"q_proj": 100}}, "TIERLINE_MAX_ADAPTER_RANK"),
        ({"rank_pattern": {"(": 4}}, "rank_pattern"),
        ({"alpha_pattern": [1]}, "alpha_pattern"),
    ],
)
def test_settings_that_cannot_be_served_are_named(folder, model, changes, named):
    assert named in refusal(changed_config(folder, **changes), model)


@pytest.mark.parametrize(
    ("name", "tensor", "named"),
    [
        ("base_model.model.lm_head.lora_A.weight", np.ones((4, 64), np.float32), "lm_head"),
        (layer_0("self_attn.q_proj", "magnitude_vector"), np.ones(64, np.float32), "magnitude_vector"),
        (layer_0("mlp.router", "A"), np.ones((4, 64), np.float32), "mlp.router"),
        (layer_0("self_attn.q_proj", "B"), None, "no lora_B"),
        (layer_0("self_attn.q_proj", "A"), np.ones((4, 63), np.float32), "(4, 63)"),
        (layer_0("self_attn.q_proj", "A"), np.ones((5, 64), np.float32), "(5, 64)"),
        (layer_0("self_attn.k_proj", "B"), np.full((32, 4), np.nan, np.float32), "finite"),
        (layer_0("mlp.up_proj", "A").replace("layers.0", "layers.7"), np.ones((4, 64), np.float32), "layers.7"),
    ],
)
def test_tensors_that_cannot_be_served_are_named(folder, model, name, tensor, named):
    assert named in refusal(changed_tensors(folder, {name: tensor}), model)


def test_a_layer_beyond_the_model(folder, model):
    extra = {layer_0("mlp.up_proj", side).replace("layers.0", "layers.7"): shape for side, shape in
             (("A", np.ones((4, 64), np.float32)), ("B", np.ones((96, 4), np.float32)))}  # fmt: skip
    assert "layer 7" in refusal(changed_tensors(folder, extra), model)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_files_that_are_missing_or_damaged(folder, model, name):
    (folder / name).write_bytes(b"\x00\xff{")
    assert name in refusal(folder, model)
    (folder / name).unlink()
    assert name in refusal(folder, model)


def test_no_tensors(folder, model):
    save_file({}, folder / "adapter_model.safetensors")
    assert "no tensors" in refusal(folder, model)


def test_numbers_that_the_dtype_cannot_hold(folder, model):
    huge = {layer_0("self_attn.k_proj", "A"): np.full((4, 64), 1e6, np.float32)}
    weights = read_peft(changed_tensors(folder, huge), model, 64)
    with pytest.raises(AdapterError, match="float16"):
        paginate(weights, model, 4096, torch.float16)


def test_a_block_that_holds_no_row(folder, model):
    with pytest.raises(AdapterError, match="TIERLINE_BLOCK_TOKENS"):
        paginate(read_peft(folder, model, 64), model, 90, torch.float32)
