"""From a path to a model in memory."""

from collections.abc import Mapping
from pathlib import Path

import torch

from tierline_worker.errors import ModelError
from tierline_worker.model.checkpoint import Checkpoint
from tierline_worker.model.decoder import Decoder, DecoderLayer
from tierline_worker.model.gguf_file import GGUFCheckpoint
from tierline_worker.model.huggingface import HuggingFaceCheckpoint
from tierline_worker.model.linear import Linear
from tierline_worker.model.number_format import NumberFormat
from tierline_worker.model.quantize import Groups4
from tierline_worker.model.rope import Rope
from tierline_worker.parallel.shard import Sharding, Split

CPU = torch.device("cpu")


def open_checkpoint(path: Path) -> Checkpoint:
    """Return the model at `path`, a `.gguf` file or a Hugging Face directory; raises `ModelError`."""
    if path.is_dir():
        return HuggingFaceCheckpoint(path)
    if path.is_file():
        return GGUFCheckpoint(path)
    raise ModelError(path, "there is no such file or directory", "correct the path or mount the volume that holds it")


def load_model(
    path: Path,
    dtype: torch.dtype,
    max_positions: int | None = None,
    quantization: str = "None",
    device: torch.device = CPU,
    *,
    sharding: Sharding | None = None,
) -> Decoder:
    """Load weights in `dtype` or quantized, ready to compute on `device`; rope tables reach to `max_positions`
    (default: the model's own). With `sharding` it is one rank's part, whose configuration has the sizes of the part.

    Raises `ModelError` for anything that cannot be served: damaged, missing or wrongly shaped parts; `SettingsError`
    for a quantization that this machine does not compute, or sizes that do not divide.
    """
    numbers = NumberFormat.choose(dtype, quantization, device.type)
    return _Loader(path, open_checkpoint(path), numbers, device, sharding or Sharding()).load(max_positions)


class _Loader:
    """Reads the tensors of one checkpoint, checking each shape and that all numbers are finite."""

    def __init__(
        self, path: Path, checkpoint: Checkpoint, numbers: NumberFormat, device: torch.device, sharding: Sharding
    ) -> None:
        self._path, self._checkpoint, self._numbers, self._device = path, checkpoint, numbers, device
        self._sharding = sharding
        self._config = checkpoint.config
        self._part = sharding.config(checkpoint.config)
        # What is quantized is rounded once, not to the stored dtype before.
        self._read_as = numbers.stored if numbers.quantization == "None" else torch.float32

    def load(self, max_positions: int | None) -> Decoder:
        config, numbers = self._config, self._numbers
        embedding = self._tensor("model.embed_tokens.weight", config.vocab_size, config.hidden_size)
        head = embedding
        if not config.tied_embeddings:
            head = self._tensor("lm_head.weight", config.vocab_size, config.hidden_size)
        positions = max_positions or config.max_positions
        return Decoder(
            config=self._part,
            dtype=numbers.stored,
            embedding=embedding.to(numbers.stored),
            layers=tuple(self._layer(index) for index in range(config.layers)),
            norm=self._vector("model.norm.weight", config.hidden_size),
            head=self._sharding.joined_head(numbers.head(self._sharding.head(head)), head),
            rope=self._rope(positions),
        )

    def _rope(self, positions: int) -> Rope:
        config = self._config
        sizes = (positions, config.head_dim, config.rope_theta, self._numbers.hidden, config.rope_divisors)
        rope = Rope.build(*sizes, magnitude=config.rope_magnitude)
        return Rope(rope.cos.to(self._device), rope.signed_sin.to(self._device))

    def _layer(self, index: int) -> DecoderLayer:
        config, prefix = self._config, f"model.layers.{index}"
        hidden, inner, attended = config.hidden_size, config.intermediate_size, config.heads * config.head_dim
        return DecoderLayer(
            attention_norm=self._vector(f"{prefix}.input_layernorm.weight", hidden),
            qkv=self._qkv(f"{prefix}.self_attn"),
            qk_norm=self._qk_norm(f"{prefix}.self_attn") if config.qk_norm else None,
            output=self._linear({f"{prefix}.self_attn.o_proj": hidden}, attended, split=Split.INPUTS),
            mlp_norm=self._vector(f"{prefix}.post_attention_layernorm.weight", hidden),
            gate_up=self._linear({f"{prefix}.mlp.gate_proj": inner, f"{prefix}.mlp.up_proj": inner}, hidden),
            down=self._linear({f"{prefix}.mlp.down_proj": hidden}, inner, split=Split.INPUTS),
        )

    def _qkv(self, prefix: str) -> Linear:
        config = self._config
        heads = {"q_proj": config.heads, "k_proj": config.kv_heads, "v_proj": config.kv_heads}
        rows = {f"{prefix}.{name}": count * config.head_dim for name, count in heads.items()}
        bias = None
        if config.qkv_bias:
            parts = [self._sharding.part(self._vector(f"{name}.bias", count)) for name, count in rows.items()]
            bias = torch.cat(parts)
        return self._linear(rows, config.hidden_size, bias)

    def _qk_norm(self, prefix: str) -> torch.Tensor:
        config = self._part
        query = self._vector(f"{prefix}.q_norm.weight", config.head_dim).expand(config.heads, -1)
        key = self._vector(f"{prefix}.k_norm.weight", config.head_dim).expand(config.kv_heads, -1)
        return torch.cat((query, key))

    def _linear(
        self, rows: Mapping[str, int], columns: int, bias: torch.Tensor | None = None, split: Split = Split.OUTPUTS
    ) -> Linear:
        """Return one layer of the named matrices below each other, each with its number of rows."""
        return self._sharding.joined(self._own_linear(rows, columns, bias, split), split)

    def _own_linear(self, rows: Mapping[str, int], columns: int, bias: torch.Tensor | None, split: Split) -> Linear:
        if self._numbers.quantization == "Int4":
            stored = [self._groups(name, count, columns, split) for name, count in rows.items()]
            groups = [part for part in stored if part is not None]
            if len(groups) == len(stored):
                return self._numbers.linear_of_groups(Groups4.stacked(groups), bias)
        whole = (self._tensor(f"{name}.weight", count, columns) for name, count in rows.items())
        return self._numbers.linear(torch.cat([self._sharding.part(weight, split) for weight in whole]), bias)

    def _vector(self, name: str, size: int) -> torch.Tensor:
        return self._tensor(name, size).to(self._numbers.stored).to(self._numbers.hidden)

    def _groups(self, name: str, rows: int, columns: int, split: Split) -> Groups4 | None:
        stored = self._checkpoint.groups(f"{name}.weight")
        if stored is None:
            return None
        groups = stored.to(self._device)
        self._check_shape(f"{name}.weight", groups.values, (rows, columns))
        self._check_finite(f"{name}.weight", groups.scale.sum() + groups.minimum.sum())
        return self._sharding.part_of_groups(groups, split)

    def _tensor(self, name: str, *shape: int) -> torch.Tensor:
        tensor = self._checkpoint.tensor(name)
        self._check_shape(name, tensor, shape)
        tensor = tensor.to(self._device, self._read_as)
        # A sum is finite only when every term is, and costs no copy.
        self._check_finite(name, tensor.sum(dtype=torch.float32))
        return tensor

    def _check_shape(self, name: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> None:
        if tuple(tensor.shape) != shape:
            problem = f"tensor {name} has shape {tuple(tensor.shape)}, its configuration says {shape}"
            raise ModelError(self._path, problem, "fetch the model again")

    def _check_finite(self, name: str, total: torch.Tensor) -> None:
        if not torch.isfinite(total):
            raise ModelError(self._path, f"tensor {name} holds numbers that are not finite", "fetch the model again")
