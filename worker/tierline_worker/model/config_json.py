"""Reads a model's architecture from a Hugging Face `config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierline_worker.errors import ModelError
from tierline_worker.model.config import SUPPORTED, ModelConfig, check_sizes, exact_positions
from tierline_worker.model.rope import Llama3Scaling

_REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
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
    theta = float(raw.get("rope_theta") or _rope(raw).get("rope_theta") or 10_000.0)
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
        max_positions=exact_positions(int(raw.get("max_position_embeddings", 2048)), _window(raw)),
        tied_embeddings=bool(raw.get("tie_word_embeddings", False)),
        eos_token_ids=eos,
        qkv_bias=family.qkv_bias,
        qk_norm=family.qk_norm,
        rope_divisors=_rope_divisors(raw, head_dim, theta, source),
    )
    return check_sizes(config, source)


def _family(raw: Mapping[str, Any], source: Path) -> _Family:
    named = (raw.get("architectures") or [f"model_type {raw.get('model_type')}"])[0]
    family = _FAMILIES.get(named)
    if family is None or raw.get("model_type") != family.model_type:
        raise ModelError(source, f"architecture {named} is not supported", f"supported are {SUPPORTED}")
    return family


def _refuse_unsupported(raw: Mapping[str, Any], source: Path) -> None:
    rope_type = _rope_type(raw)
    layer_types = sorted(set(raw.get("layer_types") or ()) - _LAYER_TYPES)
    rotated = raw.get("partial_rotary_factor") or _rope(raw).get("partial_rotary_factor") or 1.0
    unsupported = {
        f"rope scaling {rope_type!r}": rope_type not in ("default", "llama3"),
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


def _window(raw: Mapping[str, Any]) -> int | None:
    window = raw.get("sliding_window") if raw.get("use_sliding_window", True) else None
    return None if window is None else int(window)


def _rope_divisors(raw: Mapping[str, Any], head_dim: int, theta: float, source: Path) -> tuple[float, ...]:
    if _rope_type(raw) == "default":
        return ()
    missing = [name for name in _LLAMA3 if not isinstance(_rope(raw).get(name), int | float)]
    if missing:
        raise ModelError(source, f"its rope scaling has no number for {', '.join(missing)}", "fetch the model again")
    return Llama3Scaling(*(float(_rope(raw)[name]) for name in _LLAMA3)).divisors(head_dim, theta)


def _rope(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return raw.get("rope_parameters") or raw.get("rope_scaling") or {}


def _rope_type(raw: Mapping[str, Any]) -> str:
    return _rope(raw).get("rope_type") or _rope(raw).get("type") or "default"
