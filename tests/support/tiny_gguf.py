"""The tiny checkpoint as a GGUF file, with query and key rows in GGUF's order."""

from pathlib import Path

import gguf
import numpy as np
from tiny_checkpoint import CONFIG, tiny_tensors

_PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}


def write_tiny_gguf(
    path: Path,
    architecture: str = "llama",
    quantisation: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    leave_out: str = "",
    rope_scaling: str = "",
) -> Path:
    """Write the tiny model of seed 0 into one GGUF file; `leave_out` names a tensor to forget."""
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(CONFIG["hidden_size"])
    writer.add_feed_forward_length(CONFIG["intermediate_size"])
    writer.add_head_count(CONFIG["num_attention_heads"])
    writer.add_head_count_kv(CONFIG["num_key_value_heads"])
    writer.add_rope_dimension_count(CONFIG["head_dim"])
    writer.add_rope_freq_base(CONFIG["rope_theta"])
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_eos_token_id(258)
    if rope_scaling:
        writer.add_string(f"{architecture}.rope.scaling.type", rope_scaling)
    for name, values in tiny_tensors(CONFIG, 0).items():
        if _gguf_name(name) != leave_out:
            _add(writer, name, values, quantisation)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, name: str, values: np.ndarray, quantisation: gguf.GGMLQuantizationType) -> None:
    values = _rope_order(name, values)
    if values.ndim == 1 or quantisation == gguf.GGMLQuantizationType.F32:
        writer.add_tensor(_gguf_name(name), values)
    else:
        packed = gguf.quants.quantize(values, quantisation)
        writer.add_tensor(_gguf_name(name), packed, raw_dtype=quantisation)


def _gguf_name(name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    layer, _, part = name.removeprefix("model.layers.").removesuffix(".weight").partition(".")
    return f"blk.{layer}.{_PARTS[part]}.weight"


def _rope_order(name: str, values: np.ndarray) -> np.ndarray:
    if "q_proj" not in name and "k_proj" not in name:
        return values
    head_dim = CONFIG["head_dim"]
    halves = values.reshape(-1, 2, head_dim // 2, values.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
