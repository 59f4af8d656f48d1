"""From a path to a model in memory."""

from pathlib import Path

import torch

from tierline_worker.errors import ModelError
from tierline_worker.model.checkpoint import Checkpoint
from tierline_worker.model.decoder import Decoder, DecoderLayer
from tierline_worker.model.gguf_file import GGUFCheckpoint
from tierline_worker.model.huggingface import HuggingFaceCheckpoint
from tierline_worker.model.linear import Linear
from tierline_worker.model.rope import Rope


def open_checkpoint(path: Path) -> Checkpoint:
    """Return the model at `path`, a `.gguf` file or a Hugging Face directory; raises `ModelError`."""
    if path.is_dir():
        return HuggingFaceCheckpoint(path)
    if path.is_file():
        return GGUFCheckpoint(path)
    raise ModelError(path, "there is no such file or directory", "correct the path or mount the volume that holds it")


def load_model(path: Path, dtype: torch.dtype, max_positions: int | None = None) -> Decoder:
    """Load weights in `dtype`, ready to compute; rope tables reach to `max_positions` (default: the model's own).

    Raises `ModelError` for anything that cannot be served: damaged, missing or wrongly shaped parts.
    """
    return _Loader(path, open_checkpoint(path), dtype).load(max_positions)


class _Loader:
    """Reads the tensors of one checkpoint, checking each shape and that all numbers are finite."""

    def __init__(self, path: Path, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        self._path, self._checkpoint, self._dtype = path, checkpoint, dtype
        self._config = checkpoint.config

    def load(self, max_positions: int | None) -> Decoder:
        config = self._config
        embedding = self._tensor("model.embed_tokens.weight", config.vocab_size, config.hidden_size)
        head = embedding
        if not config.tied_embeddings:
            head = self._tensor("lm_head.weight", config.vocab_size, config.hidden_size)
        positions = max_positions or config.max_positions
        return Decoder(
            config=config,
            dtype=self._dtype,
            embedding=embedding,
            layers=tuple(self._layer(index) for index in range(config.layers)),
            norm=self._tensor("model.norm.weight", config.hidden_size),
            head=Linear(head),
            rope=Rope.build(positions, config.head_dim, config.rope_theta, self._dtype, config.rope_divisors),
        )

    def _layer(self, index: int) -> DecoderLayer:
        config, prefix = self._config, f"model.layers.{index}"
        hidden, inner = config.hidden_size, config.intermediate_size
        gate_up = [self._tensor(f"{prefix}.mlp.{name}.weight", inner, hidden) for name in ("gate_proj", "up_proj")]
        output = self._tensor(f"{prefix}.self_attn.o_proj.weight", hidden, config.heads * config.head_dim)
        return DecoderLayer(
            attention_norm=self._tensor(f"{prefix}.input_layernorm.weight", hidden),
            qkv=self._qkv(f"{prefix}.self_attn"),
            qk_norm=self._qk_norm(f"{prefix}.self_attn") if config.qk_norm else None,
            output=Linear(output),
            mlp_norm=self._tensor(f"{prefix}.post_attention_layernorm.weight", hidden),
            gate_up=Linear(torch.cat(gate_up)),
            down=Linear(self._tensor(f"{prefix}.mlp.down_proj.weight", hidden, inner)),
        )

    def _qkv(self, prefix: str) -> Linear:
        config = self._config
        heads = {"q_proj": config.heads, "k_proj": config.kv_heads, "v_proj": config.kv_heads}
        rows = {f"{prefix}.{name}": count * config.head_dim for name, count in heads.items()}
        weight = torch.cat([self._tensor(f"{name}.weight", count, config.hidden_size) for name, count in rows.items()])
        if not config.qkv_bias:
            return Linear(weight)
        return Linear(weight, torch.cat([self._tensor(f"{name}.bias", count) for name, count in rows.items()]))

    def _qk_norm(self, prefix: str) -> torch.Tensor:
        config = self._config
        query = self._tensor(f"{prefix}.q_norm.weight", config.head_dim).expand(config.heads, -1)
        key = self._tensor(f"{prefix}.k_norm.weight", config.head_dim).expand(config.kv_heads, -1)
        return torch.cat((query, key))

    def _tensor(self, name: str, *shape: int) -> torch.Tensor:
        tensor = self._checkpoint.tensor(name)
        if tuple(tensor.shape) != shape:
            problem = f"tensor {name} has shape {tuple(tensor.shape)}, its configuration says {shape}"
            raise ModelError(self._path, problem, "fetch the model again")
        tensor = tensor.to(self._dtype)
        # A sum is finite only when every term is, and costs no copy.
        if not torch.isfinite(tensor.float().sum() if self._dtype is torch.float16 else tensor.sum()):
            raise ModelError(self._path, f"tensor {name} holds numbers that are not finite", "fetch the model again")
        return tensor
