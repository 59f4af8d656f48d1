"""Read a GGUF file of the Llama architecture: configuration from its metadata, tensors dequantised.

GGUF stores the rows of the query and key projections in the order that interleaved rotary embeddings want; the order
is undone here, so that the rest of the worker knows one layout.
"""

import struct
from pathlib import Path
from typing import Any

import gguf
import torch
from gguf.quants import dequantize

from tierline_worker.errors import ModelError
from tierline_worker.model.config import SUPPORTED, LlamaConfig, check_sizes

_BROKEN_FILE = (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, OSError, struct.error)
_BLOCK_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_TOP_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


class GGUFCheckpoint:
    """A `Checkpoint` in one GGUF file; raises `ModelError` when it is damaged or of another architecture."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._reader = gguf.GGUFReader(str(path))
            self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        except _BROKEN_FILE as error:
            problem = f"the GGUF file is damaged or cut off ({error})"
            raise ModelError(path, problem, "delete it and let it be fetched again") from error
        self.config = self._read_config()

    def tensor(self, name: str) -> torch.Tensor:
        stored = self._tensors.get(_gguf_name(name))
        if stored is None:
            raise ModelError(self._path, f"tensor {_gguf_name(name)} is missing", "fetch the model again")
        try:
            values = dequantize(stored.data, stored.tensor_type)
        except NotImplementedError as error:
            problem = f"quantisation {stored.tensor_type.name} of tensor {stored.name} is not supported"
            raise ModelError(self._path, problem, "use a Q4_0, Q4_1, Q8_0, F16, BF16 or F32 file") from error
        # A copy, since F32 tensors are views of the read-only file.
        tensor = torch.tensor(values) if not values.flags.writeable else torch.from_numpy(values)
        return self._undo_rope_order(name, tensor)

    def _undo_rope_order(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        if "q_proj" in name:
            heads = self.config.heads
        elif "k_proj" in name:
            heads = self.config.kv_heads
        else:
            return tensor
        pairs = tensor.view(heads, self.config.head_dim // 2, 2, -1)
        return pairs.transpose(1, 2).reshape(tensor.shape)

    def _read_config(self) -> LlamaConfig:
        architecture = self._field("general.architecture")
        if architecture != "llama":
            problem = f"GGUF architecture {architecture!r} is not supported"
            raise ModelError(self._path, problem, f"supported is the {SUPPORTED}")
        self._refuse_rope_scaling()
        heads = int(self._field("llama.attention.head_count"))
        hidden = int(self._field("llama.embedding_length"))
        vocabulary = self._tensors.get("token_embd.weight")
        config = LlamaConfig(
            vocab_size=int(vocabulary.shape[1]) if vocabulary is not None else 0,
            hidden_size=hidden,
            intermediate_size=int(self._field("llama.feed_forward_length")),
            layers=int(self._field("llama.block_count")),
            heads=heads,
            kv_heads=int(self._field("llama.attention.head_count_kv", heads)),
            head_dim=int(self._field("llama.rope.dimension_count", hidden // max(heads, 1))),
            rms_epsilon=float(self._field("llama.attention.layer_norm_rms_epsilon")),
            rope_theta=float(self._field("llama.rope.freq_base", 10_000.0)),
            max_positions=int(self._field("llama.context_length")),
            tied_embeddings="output.weight" not in self._tensors,
            eos_token_ids=self._stop_ids(),
        )
        return check_sizes(config, self._path)

    def _stop_ids(self) -> tuple[int, ...]:
        names = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
        return tuple(int(self._field(name)) for name in names if name in self._reader.fields)

    def _refuse_rope_scaling(self) -> None:
        scaling = self._field("llama.rope.scaling.type", "none")
        if scaling != "none" or "rope_freqs.weight" in self._tensors:
            raise ModelError(self._path, "it uses a rope scaling, which is not supported", "use another model")

    def _field(self, name: str, default: Any = None) -> Any:
        found = self._reader.fields.get(name)
        if found is not None:
            return found.contents()
        if default is None:
            raise ModelError(self._path, f"the GGUF file has no field {name}", "fetch the model again")
        return default


def _gguf_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in _TOP_NAMES:
        return f"{_TOP_NAMES[stem]}.weight"
    layer, _, part = stem.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{_BLOCK_NAMES[part]}.weight"
