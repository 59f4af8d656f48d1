"""LoRA adapters for tiny checkpoints as PEFT saves them, and the merged model that says what they must give."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

MODULES = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


def write_tiny_adapter(
    directory: Path,
    model: Path,
    seed: int,
    *,
    rank: int = 4,
    modules: Sequence[str] = MODULES,
    rank_of: Callable[[str], int] | None = None,
    **config: object,
) -> Path:
    """Write an adapter for the checkpoint `model` that changes its answers a lot; `config` goes into its JSON."""
    directory.mkdir(parents=True, exist_ok=True)
    raw: dict[str, object] = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "bias": "none", **config}
    raw["target_modules"] = [module.split(".")[1] for module in modules]
    (directory / "adapter_config.json").write_text(json.dumps(raw))
    random = np.random.default_rng(seed)
    tensors = {}
    for name, weight in load_file(model / "model.safetensors").items():
        module = name.removesuffix(".weight")
        if module.endswith(tuple(modules)):
            own = rank_of(module) if rank_of else rank
            for side, shape in (("A", (own, weight.shape[1])), ("B", (weight.shape[0], own))):
                scale = 0.4 / np.sqrt(shape[1])
                tensors[f"base_model.model.{module}.lora_{side}.weight"] = (
                    random.standard_normal(shape) * scale
                ).astype(np.float32)
    save_file(tensors, directory / "adapter_model.safetensors")
    return directory


def write_merged(
    directory: Path, model: Path, adapter: Path, scale: Callable[[str], float] = lambda _module: 2.0
) -> Path:
    """Write the model with W + scale * B * A in place of every W that the adapter changes."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in model.iterdir():
        if file.name != "model.safetensors":
            (directory / file.name).write_bytes(file.read_bytes())
    weights = load_file(model / "model.safetensors")
    changes = load_file(adapter / "adapter_model.safetensors")
    for name in changes:
        if ".lora_A." in name:
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            down, up = changes[name].astype(np.float64), changes[name.replace("lora_A", "lora_B")].astype(np.float64)
            merged = weights[f"{module}.weight"] + scale(module) * (up @ down)
            weights[f"{module}.weight"] = merged.astype(np.float32)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory
