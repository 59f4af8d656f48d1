"""What contestants need besides a GGUF file: the same weights as a Hugging Face folder, and random LoRA adapters.

python bench/peers/prepare.py model MODEL.gguf FOLDER DTYPE
python bench/peers/prepare.py adapters MODEL.gguf FOLDER COUNT RANK
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from tierline_worker.model.config import ModelConfig
from tierline_worker.model.load import open_checkpoint
from tierline_worker.settings import DTYPES

_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")


def export_model(source: Path, folder: Path, dtype: torch.dtype) -> None:
    """Write `config.json` and `model.safetensors`; there is no tokenizer, prompts are token ids."""
    checkpoint = open_checkpoint(source)
    folder.mkdir(parents=True)
    names = _tensor_names(checkpoint.config)
    tensors = {name: checkpoint.tensor(name).to(dtype).contiguous().clone() for name in names}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_config_json(checkpoint.config, dtype)))


def make_adapters(source: Path, folder: Path, count: int, rank: int) -> None:
    """Write `count` PEFT folders with small random matrices for the attention's projections."""
    config = open_checkpoint(source).config
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": list(_TARGETS)}
    settings |= {"task_type": "CAUSAL_LM", "bias": "none", "base_model_name_or_path": "model"}
    for number in range(count):
        path = folder / f"adapter-{number:02}"
        path.mkdir(parents=True)
        (path / "adapter_config.json").write_text(json.dumps(settings))
        save_file(_adapter(config, rank, torch.Generator().manual_seed(number)), path / "adapter_model.safetensors")


def _adapter(config: ModelConfig, rank: int, random: torch.Generator) -> dict[str, torch.Tensor]:
    query, key = config.heads * config.head_dim, config.kv_heads * config.head_dim
    shapes = dict(zip(_TARGETS, ((config.hidden_size, query),) + ((config.hidden_size, key),) * 2, strict=False))
    shapes["o_proj"] = (query, config.hidden_size)
    tensors = {}
    for layer in range(config.layers):
        for target, (inputs, outputs) in shapes.items():
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{target}"
            tensors[f"{prefix}.lora_A.weight"] = torch.randn(rank, inputs, generator=random) / inputs**0.5
            tensors[f"{prefix}.lora_B.weight"] = torch.randn(outputs, rank, generator=random) * 0.02
    return tensors


def _tensor_names(config: ModelConfig) -> list[str]:
    names = ["model.embed_tokens.weight", "model.norm.weight"]
    names += [] if config.tied_embeddings else ["lm_head.weight"]
    parts = [f"self_attn.{name}.weight" for name in _TARGETS]
    parts += [f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")]
    parts += ["input_layernorm.weight", "post_attention_layernorm.weight"]
    parts += [f"self_attn.{name}_proj.bias" for name in "qkv"] if config.qkv_bias else []
    parts += [f"self_attn.{name}_norm.weight" for name in "qk"] if config.qk_norm else []
    return names + [f"model.layers.{layer}.{part}" for layer in range(config.layers) for part in parts]


def _config_json(config: ModelConfig, dtype: torch.dtype) -> dict[str, object]:
    if config.rope_divisors:
        raise SystemExit("a model with rope scaling is not exported: give its Hugging Face folder as --model")
    family = "Qwen3" if config.qk_norm else "Qwen2" if config.qkv_bias else "Llama"
    return {
        "architectures": [f"{family}ForCausalLM"],
        "model_type": family.lower(),
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.rms_epsilon,
        "rope_theta": config.rope_theta,
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": config.tied_embeddings,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "eos_token_id": list(config.eos_token_ids) or None,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }


def main() -> None:
    match sys.argv[1:]:
        case ["model", source, folder, dtype]:
            export_model(Path(source), Path(folder), DTYPES[dtype])
        case ["adapters", source, folder, count, rank]:
            make_adapters(Path(source), Path(folder), int(count), int(rank))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
