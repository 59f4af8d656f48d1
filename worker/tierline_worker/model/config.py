"""The architecture numbers of a Llama-family model, read from a Hugging Face `config.json`.

Only what the forward pass implements is accepted; everything else is refused by name, since a silently ignored
setting (a rope scaling, a bias) gives wrong text instead of an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierline_worker.errors import ModelError

ARCHITECTURES = ("LlamaForCausalLM",)
SUPPORTED = "Llama architecture (Llama, SmolLM2): use such a GGUF file or Hugging Face directory"
_REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """Sizes are counts of elements; `max_positions` is the longest context in tokens."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rms_epsilon: float
    rope_theta: float
    max_positions: int
    tied_embeddings: bool
    eos_token_ids: tuple[int, ...] = ()

    @property
    def group(self) -> int:
        """Query heads that share one key/value head."""
        return self.heads // self.kv_heads


def check_sizes(config: LlamaConfig, source: Path) -> LlamaConfig:
    """Return `config` when its numbers fit together; raises `ModelError`."""
    if min(config.vocab_size, config.hidden_size, config.intermediate_size, config.layers, config.kv_heads) < 1:
        raise ModelError(source, "a size in its configuration is below 1", "fetch the model again")
    if config.heads % config.kv_heads or config.head_dim % 2:
        problem = f"{config.heads} heads of {config.head_dim} do not divide over {config.kv_heads} key/value heads"
        raise ModelError(source, problem, "fetch the model again")
    return config


def config_from_json(raw: Mapping[str, Any], eos: tuple[int, ...], source: Path) -> LlamaConfig:
    """Return the configuration of a parsed `config.json`; raises `ModelError` naming what is missing or unsupported."""
    _refuse_unsupported(raw, source)
    missing = [name for name in _REQUIRED if not isinstance(raw.get(name), int)]
    if missing:
        raise ModelError(source, f"config.json has no number for {', '.join(missing)}", "fetch the model again")
    heads = raw["num_attention_heads"]
    config = LlamaConfig(
        vocab_size=raw["vocab_size"],
        hidden_size=raw["hidden_size"],
        intermediate_size=raw["intermediate_size"],
        layers=raw["num_hidden_layers"],
        heads=heads,
        kv_heads=raw.get("num_key_value_heads") or heads,
        head_dim=raw.get("head_dim") or raw["hidden_size"] // max(heads, 1),
        rms_epsilon=float(raw.get("rms_norm_eps", 1e-6)),
        rope_theta=float(raw.get("rope_theta") or _rope(raw).get("rope_theta") or 10_000.0),
        max_positions=int(raw.get("max_position_embeddings", 2048)),
        tied_embeddings=bool(raw.get("tie_word_embeddings", False)),
        eos_token_ids=eos,
    )
    return check_sizes(config, source)


def _refuse_unsupported(raw: Mapping[str, Any], source: Path) -> None:
    architectures = raw.get("architectures") or [f"model_type {raw.get('model_type')}"]
    if raw.get("model_type") != "llama" or architectures[0] not in ARCHITECTURES:
        raise ModelError(source, f"architecture {architectures[0]} is not supported", f"supported is the {SUPPORTED}")
    rope_type = _rope(raw).get("rope_type") or _rope(raw).get("type") or "default"
    unsupported = {
        f"rope scaling {rope_type!r}": rope_type != "default",
        "attention_bias": bool(raw.get("attention_bias")),
        "mlp_bias": bool(raw.get("mlp_bias")),
        f"hidden_act {raw.get('hidden_act')!r}": raw.get("hidden_act", "silu") != "silu",
        "quantization_config": raw.get("quantization_config") is not None,
    }
    for setting, present in unsupported.items():
        if present:
            raise ModelError(source, f"config.json sets {setting}, which is not supported", "use another model")


def _rope(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return raw.get("rope_parameters") or raw.get("rope_scaling") or {}
