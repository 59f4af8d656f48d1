"""Reads a LoRA adapter as PEFT saves it: `adapter_config.json` and `adapter_model.safetensors` in one folder."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from tierline_worker.adapters.peft_config import LoRAConfig, lora_config
from tierline_worker.adapters.projections import projection_shapes
from tierline_worker.errors import AdapterError
from tierline_worker.model.config import ModelConfig

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
MAX_CONFIG_BYTES = 1 << 20
_NAME = re.compile(
    r"base_model\.model\.model\.layers\.(?P<layer>\d{1,4})\.(?P<module>(?:self_attn|mlp)\.\w+)\.lora_(?P<side>[AB])\.weight"
)
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class LoRAModule:
    """What an adapter adds to one module: `up` [outputs, rank] · `down` [rank, inputs], the scale already in `up`."""

    down: torch.Tensor
    up: torch.Tensor

    @property
    def rank(self) -> int:
        return self.down.shape[0]


@dataclass(frozen=True, slots=True)
class LoRAWeights:
    """An adapter in float32, by (layer, module). `digest` is of its files' bytes: same digest, same adapter."""

    modules: dict[tuple[int, str], LoRAModule]
    digest: str


def read_peft(folder: Path, model: ModelConfig, max_rank: int) -> LoRAWeights:
    """Return the adapter in `folder`; raises `AdapterError` for what is missing, unsupported or does not fit."""
    config_bytes, weights_bytes = _read(folder, CONFIG_FILE, MAX_CONFIG_BYTES), _read(folder, WEIGHTS_FILE)
    config = lora_config(_parsed(config_bytes, folder), folder, max_rank)
    pairs = _pairs(_tensors(weights_bytes, folder), folder)
    shapes = {
        part.module: (shape.inputs, part.rows) for shape in projection_shapes(model).values() for part in shape.parts
    }
    modules = {place: _module(place, pair, config, shapes, folder) for place, pair in pairs.items()}
    _check_layers((layer for layer, _ in modules), model, folder)
    digest = hashlib.blake2b(config_bytes, digest_size=_DIGEST_BYTES)
    digest.update(weights_bytes)
    return LoRAWeights(modules, digest.hexdigest())


def _read(folder: Path, name: str, limit: int | None = None) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            content = file.read(-1 if limit is None else limit + 1)
    except OSError as error:
        raise AdapterError(folder, f"{name} cannot be read ({error})", "give a folder as PEFT saves it") from error
    if limit is not None and len(content) > limit:
        raise AdapterError(folder, f"{name} is over {limit} bytes", "give a folder as PEFT saves it")
    return content


def _parsed(content: bytes, folder: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise AdapterError(folder, f"{CONFIG_FILE} is not JSON ({error})", "save it again") from error
    if not isinstance(parsed, dict):
        raise AdapterError(folder, f"{CONFIG_FILE} is not a JSON object", "save it again")
    return parsed


def _tensors(content: bytes, folder: Path) -> dict[str, torch.Tensor]:
    try:
        return load(content)
    except (SafetensorError, ValueError) as error:
        raise AdapterError(folder, f"{WEIGHTS_FILE} cannot be read ({error})", "save it again") from error


def _pairs(tensors: dict[str, torch.Tensor], folder: Path) -> dict[tuple[int, str], dict[str, torch.Tensor]]:
    pairs: dict[tuple[int, str], dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        found = _NAME.fullmatch(name)
        if found is None:
            fix = "only lora_A and lora_B of q, k, v, o, gate, up and down projections are served"
            raise AdapterError(folder, f"tensor {name} is not supported", fix)
        pairs.setdefault((int(found["layer"]), found["module"]), {})[found["side"]] = tensor.float()
    if not pairs:
        raise AdapterError(folder, f"{WEIGHTS_FILE} holds no tensors", "save it again")
    return pairs


def _module(
    place: tuple[int, str],
    pair: dict[str, torch.Tensor],
    config: LoRAConfig,
    shapes: dict[str, tuple[int, int]],
    folder: Path,
) -> LoRAModule:
    layer, module = place
    name = f"model.layers.{layer}.{module}"
    if module not in shapes:
        raise AdapterError(folder, f"target module {name} is not supported", "train q, k, v, o, gate, up, down only")
    if set(pair) != {"A", "B"}:
        raise AdapterError(folder, f"{name} has no lora_{'B' if 'A' in pair else 'A'}", "save it again")
    (inputs, outputs), rank = shapes[module], config.rank_of(name)
    for side, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
        if tuple(pair[side].shape) != shape:
            problem = f"{name}.lora_{side} has shape {tuple(pair[side].shape)}, this model and rank need {shape}"
            raise AdapterError(folder, problem, "give an adapter that was trained on this model")
    up = pair["B"] * config.scale_of(name)
    if not (torch.isfinite(up.sum()) and torch.isfinite(pair["A"].sum())):
        raise AdapterError(folder, f"{name} holds numbers that are not finite", "save it again")
    return LoRAModule(pair["A"], up)


def _check_layers(layers: Iterable[int], model: ModelConfig, folder: Path) -> None:
    last = max(layers)
    if last >= model.layers:
        problem = f"it has layer {last}, the model's last is {model.layers - 1}"
        raise AdapterError(folder, problem, "give an adapter that was trained on this model")
