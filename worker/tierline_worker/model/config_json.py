"""Reads a model's architecture from a Hugging Face `config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierline_worker.errors import ModelError
from tierline_worker.model.config import SUPPORTED, ModelConfig, check_sizes, exact_positions
from tierline_worker.model.config_rope import json_rope, json_rope_type, rope_from_json

_REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_LAYER_TYPES = {"full_attention", "sliding_attention"}


@dataclass(frozen=True, slots=True)
class _Family:
    """What a family has that its `config.json` does not say."""

    model_type: str
    qkv_bias: bool = False
    qk_norm: bool = False


_FAMILIES = {
    "LlamaForCausalLM": _Family("llama"),
    "MistralForCausalLM": _Family("mistral"),
    "Qwen2ForCausalLM": _Family("qwen2", qkv_bias=True),
    "Qwen3ForCausalLM": _Family("qwen3", qk_norm=True),
}


def config_from_json(raw: Mapping[str, Any], eos: tuple[int, ...], source: Path) -> ModelConfig:
    """Return the configuration of a parsed `config.json`; raises `ModelError` naming what is missing or unsupported."""
    family = _family(raw, source)
    _refuse_unsupported(raw, source)
    missing = [name for name in _REQUIRED if not isinstance(raw.get(name), int)]
    if missing:
        raise ModelError(source, f"config.json has no number for {', '.join(missing)}", "fetch the model again")
    heads = raw["num_attention_heads"]
    head_dim = raw.get("head_dim") or raw["hidden_size"] // max(heads, 1)
    theta = float(raw.get("rope_theta") or json_rope(raw).get("rope_theta") or 10_000.0)
    scaled = rope_from_json(raw, head_dim, theta, source)
    config = ModelConfig(
        vocab_size=raw["vocab_size"],
        hidden_size=raw["hidden_size"],
        intermediate_size=raw["intermediate_size"],
        layers=raw["num_hidden_layers"],
        heads=heads,
        kv_heads=raw.get("num_key_value_heads") or heads,
        head_dim=head_dim,
        rms_epsilon=float(raw.get("rms_norm_eps", 1e-6)),
        rope_theta=theta,
        max_positions=exact_positions(max(_positions(raw), scaled.positions), _window(raw)),
        tied_embeddings=bool(raw.get("tie_word_embeddings", False)),
        eos_token_ids=eos,
        qkv_bias=family.qkv_bias,
        qk_norm=family.qk_norm,
        rope_divisors=scaled.divisors,
        rope_magnitude=scaled.magnitude,
    )
    return check_sizes(config, source)


def _family(raw: Mapping[str, Any], source: Path) -> _Family:
    named = (raw.get("architectures") or [f"model_type {raw.get('model_type')}"])[0]
    family = _FAMILIES.get(named)
    if family is None or raw.get("model_type") != family.model_type:
        raise ModelError(source, f"architecture {named} is not supported", f"supported are {SUPPORTED}")
    return family


def _refuse_unsupported(raw: Mapping[str, Any], source: Path) -> None:
    rope_type = json_rope_type(raw)
    layer_types = sorted(set(raw.get("layer_types") or ()) - _LAYER_TYPES)
    rotated = raw.get("partial_rotary_factor") or json_rope(raw).get("partial_rotary_factor") or 1.0
    unsupported = {
        f"rope scaling {rope_type!r}": rope_type not in ("default", "linear", "llama3", "yarn"),
        f"layer_types {layer_types}": bool(layer_types),
        f"partial_rotary_factor {rotated}": rotated != 1.0,
        "attention_bias": bool(raw.get("attention_bias")),
        "mlp_bias": bool(raw.get("mlp_bias")),
        f"hidden_act {raw.get('hidden_act')!r}": raw.get("hidden_act", "silu") != "silu",
        "quantization_config": raw.get("quantization_config") is not None,
    }
    for setting, present in unsupported.items():
        if present:
            raise ModelError(source, f"config.json sets {setting}, which is not supported", "use another model")


def _positions(raw: Mapping[str, Any]) -> int:
    return int(raw.get("max_position_embeddings", 2048))


def _window(raw: Mapping[str, Any]) -> int | None:
    window = raw.get("sliding_window") if raw.get("use_sliding_window", True) else None
    return None if window is None else int(window)
