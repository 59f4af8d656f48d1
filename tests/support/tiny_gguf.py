"""The tiny checkpoint as a GGUF file, with query and key rows in GGUF's order."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import gguf
import numpy as np
from tiny_checkpoint import CONFIG, tiny_tensors

_PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write_tiny_gguf(
    path: Path,
    *,
    quantisation: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    leave_out: str = "",
    architecture: str = "",
    fields: Mapping[str, str | float] = MappingProxyType({}),
    extra: Mapping[str, np.ndarray] = MappingProxyType({}),
    **overrides: object,
) -> Path:
    """Write the tiny model of seed 0 into one GGUF file.

    `overrides` change its configuration as `write_tiny_checkpoint` does; `leave_out` names a tensor to forget, `fields`
    and `extra` add metadata (named within the architecture) and tensors.
    """
    config = {**CONFIG, **overrides}
    name = architecture or {"mistral": "llama"}.get(config["model_type"], config["model_type"])
    writer = gguf.GGUFWriter(str(path), name)
    _add_sizes(writer, config)
    add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    for field, value in fields.items():
        add[type(value)](f"{name}.{field}", value)
    tensors = {_gguf_name(name): values for name, values in _stored(config).items()} | dict(extra)
    for tensor, values in tensors.items():
        if tensor != leave_out:
            _add(writer, tensor, values, quantisation)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_sizes(writer: gguf.GGUFWriter, config: dict) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    if config["model_type"] == "llama":
        writer.add_rope_dimension_count(config["head_dim"])
    if config["model_type"] != "llama" or config["head_dim"] * config["num_attention_heads"] != config["hidden_size"]:
        writer.add_key_length(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_eos_token_id(258)
    # Arrays as every vocabulary has them, which the reader steps over.
    writer.add_token_list(["a", "", "ß", "longer"] * 80)
    writer.add_token_types([1] * 320)
    writer.add_array("tierline.test.flags", [True, False, True])


def _stored(config: dict) -> dict[str, np.ndarray]:
    """Return the tensors, the query and key rows in the order that the architecture is stored in."""
    tensors = tiny_tensors(config, 0)
    if config["model_type"] not in {"llama", "mistral"}:
        return tensors
    return {name: _rope_order(name, values, config["head_dim"]) for name, values in tensors.items()}


def _add(writer: gguf.GGUFWriter, name: str, values: np.ndarray, quantisation: gguf.GGMLQuantizationType) -> None:
    if values.ndim == 1 or quantisation == gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, values)
    else:
        writer.add_tensor(name, gguf.quants.quantize(values, quantisation), raw_dtype=quantisation)


def _gguf_name(name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    layer, _, part = name.removeprefix("model.layers.").partition(".")
    part, _, kind = part.rpartition(".")
    return f"blk.{layer}.{_PARTS[part]}.{kind}"


def _rope_order(name: str, values: np.ndarray, head_dim: int) -> np.ndarray:
    if "q_proj" not in name and "k_proj" not in name:
        return values
    halves = values.reshape(-1, 2, head_dim // 2, values.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
