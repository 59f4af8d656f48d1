"""Read a GGUF file: configuration from its metadata, tensors dequantised.

For the architecture "llama" (Llama, SmolLM2, Mistral) GGUF stores the rows of the query and key projections in the
order that interleaved rotary embeddings want; the order is undone here, so that the rest of the worker knows one
layout. Other architectures are stored as Hugging Face has them.
"""

import struct
from pathlib import Path

import numpy as np
import torch
from gguf.quants import dequantize
from numpy.typing import NDArray

from tierline_worker.errors import ModelError
from tierline_worker.model.config import SUPPORTED, ModelConfig, check_sizes, exact_positions
from tierline_worker.model.config_rope import ScaledRope, rope_from_gguf
from tierline_worker.model.gguf_groups import GROUPED, read_groups
from tierline_worker.model.gguf_index import Scalar, StoredTensor, read_index
from tierline_worker.model.quantize import Groups4

_ARCHITECTURES = ("llama", "qwen2", "qwen3")
_INTERLEAVED = "llama"
_BROKEN_FILE = (ValueError, KeyError, OverflowError, MemoryError, OSError, struct.error)
_BLOCK_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_TOP_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_BIASES = ("attn_q.bias", "attn_k.bias", "attn_v.bias")
_ROPE_FACTORS = "rope_freqs.weight"
_GROUP_ELEMENTS = 1 << 18


class GGUFCheckpoint:
    """A `Checkpoint` in one GGUF file; raises `ModelError` when it is damaged or of another architecture."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._index = read_index(path)
            self._architecture = str(self._required("general.architecture"))
            self.config = self._read_config()
        except _BROKEN_FILE as error:
            problem = f"the GGUF file is damaged or cut off ({error})"
            raise ModelError(path, problem, "delete it and let it be fetched again") from error

    def tensor(self, name: str) -> torch.Tensor:
        stored = self._index.tensors.get(_gguf_name(name))
        if stored is None:
            raise ModelError(self._path, f"tensor {_gguf_name(name)} is missing", "fetch the model again")
        return self._undo_rope_order(name, self._values(stored))

    def groups(self, name: str) -> Groups4 | None:
        stored = self._index.tensors.get(_gguf_name(name))
        if stored is None or stored.kind not in GROUPED or len(stored.shape) != 2:
            return None
        groups = read_groups(stored)
        if not self._reorders(name):
            return groups
        return groups.rows(self._undo_rope_order(name, torch.arange(stored.shape[0])))

    def _values(self, stored: StoredTensor) -> torch.Tensor:
        try:
            values = dequantize(_in_large_rows(stored), stored.kind)
        except NotImplementedError as error:
            problem = f"quantisation {stored.kind.name} of tensor {stored.name} is not supported"
            raise ModelError(self._path, problem, "use a Q4_0, Q4_1, Q8_0, F16, BF16 or F32 file") from error
        # A copy, since F32 tensors are views of the read-only file.
        tensor = torch.from_numpy(values) if values.flags.writeable else torch.tensor(values)
        return tensor.view(stored.shape)

    def _undo_rope_order(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        if not self._reorders(name):
            return tensor
        pairs = tensor.view(-1, self.config.head_dim // 2, 2, *tensor.shape[1:])
        return pairs.transpose(1, 2).reshape(tensor.shape)

    def _reorders(self, name: str) -> bool:
        return self._architecture == _INTERLEAVED and ("q_proj" in name or "k_proj" in name)

    def _read_config(self) -> ModelConfig:
        self._refuse_unsupported()
        heads, hidden = int(self._own("attention.head_count")), int(self._own("embedding_length"))
        rotated = int(self._own("rope.dimension_count", hidden // max(heads, 1)))
        head_dim = int(self._own("attention.key_length", rotated))
        self._refuse_partial_rotation(rotated, head_dim)
        tensors = self._index.tensors
        vocabulary = tensors.get("token_embd.weight")
        window = int(self._own("attention.sliding_window", 0))
        theta = float(self._own("rope.freq_base", 10_000.0))
        scaled = self._scaled_rope(head_dim, theta)
        config = ModelConfig(
            vocab_size=vocabulary.shape[0] if vocabulary is not None else 0,
            hidden_size=hidden,
            intermediate_size=int(self._own("feed_forward_length")),
            layers=int(self._own("block_count")),
            heads=heads,
            kv_heads=int(self._own("attention.head_count_kv", heads)),
            head_dim=head_dim,
            rms_epsilon=float(self._own("attention.layer_norm_rms_epsilon")),
            rope_theta=theta,
            max_positions=exact_positions(max(int(self._own("context_length")), scaled.positions), window),
            tied_embeddings="output.weight" not in tensors,
            eos_token_ids=self._stop_ids(),
            qkv_bias=self._architecture == "qwen2" or "blk.0.attn_q.bias" in tensors,
            qk_norm=self._architecture == "qwen3" or "blk.0.attn_q_norm.weight" in tensors,
            rope_divisors=scaled.divisors,
            rope_magnitude=scaled.magnitude,
        )
        return check_sizes(config, self._path)

    def _stop_ids(self) -> tuple[int, ...]:
        names = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
        return tuple(int(self._index.fields[name]) for name in names if name in self._index.fields)

    def _scaled_rope(self, head_dim: int, theta: float) -> ScaledRope:
        stored = self._index.tensors.get(_ROPE_FACTORS)
        if stored is not None:
            return ScaledRope(tuple(self._values(stored).tolist()))
        prefix = f"{self._architecture}."
        own = {name.removeprefix(prefix): value for name, value in self._index.fields.items()}
        return rope_from_gguf(own, head_dim, theta, self._path)

    def _refuse_unsupported(self) -> None:
        if self._architecture not in _ARCHITECTURES:
            problem = f"GGUF architecture {self._architecture!r} is not supported"
            raise ModelError(self._path, problem, f"supported are {SUPPORTED}")
        for name in self._index.tensors:
            if name.endswith(".bias") and not name.endswith(_BIASES):
                raise ModelError(self._path, f"its bias {name} is not supported", "use another model")

    def _refuse_partial_rotation(self, rotated: int, head_dim: int) -> None:
        if rotated != head_dim and f"{self._architecture}.rope.dimension_count" in self._index.fields:
            problem = f"it rotates {rotated} of {head_dim} numbers of a head, which is not supported"
            raise ModelError(self._path, problem, "use another model")

    def _own(self, name: str, default: Scalar | None = None) -> Scalar:
        """Return a field of this architecture."""
        return self._required(f"{self._architecture}.{name}", default)

    def _required(self, name: str, default: Scalar | None = None) -> Scalar:
        found = self._index.fields.get(name, default)
        if found is None:
            raise ModelError(self._path, f"the GGUF file has no field {name}", "fetch the model again")
        return found


def _in_large_rows(stored: StoredTensor) -> NDArray[np.uint8]:
    """Return the bytes in rows of some hundred thousand elements: the library works on few rows at a time."""
    merged = 1
    while merged * 2 * stored.shape[-1] * 16 <= _GROUP_ELEMENTS and stored.rows.shape[0] % (merged * 2) == 0:
        merged *= 2
    return stored.rows.reshape(stored.rows.shape[0] // merged, -1)


def _gguf_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in _TOP_NAMES:
        return f"{_TOP_NAMES[stem]}.{kind}"
    layer, _, part = stem.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{_BLOCK_NAMES[part]}.{kind}"
