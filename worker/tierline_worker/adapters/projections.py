"""The places of a layer where an adapter adds something, as the decoder computes them: merged projections."""

from dataclasses import dataclass
from enum import IntEnum

from tierline_worker.model.config import ModelConfig


class Projection(IntEnum):
    """A product of the decoder's layer. Query, key and value are one matrix, gate and up another."""

    QKV = 0
    OUTPUT = 1
    GATE_UP = 2
    DOWN = 3


@dataclass(frozen=True, slots=True)
class Part:
    """A module of the checkpoint inside a projection: its outputs are `rows` numbers from `first` on."""

    module: str
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class ProjectionShape:
    """A projection reads `inputs` numbers of a token; its parts write next to each other."""

    inputs: int
    parts: tuple[Part, ...]


def projection_shapes(config: ModelConfig) -> dict[Projection, ProjectionShape]:
    """Return each projection of a layer; module names are those of Hugging Face checkpoints."""
    query, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    hidden, inner = config.hidden_size, config.intermediate_size
    return {
        Projection.QKV: _shape(hidden, ("self_attn.q_proj", query), ("self_attn.k_proj", kv), ("self_attn.v_proj", kv)),
        Projection.OUTPUT: _shape(query, ("self_attn.o_proj", hidden)),
        Projection.GATE_UP: _shape(hidden, ("mlp.gate_proj", inner), ("mlp.up_proj", inner)),
        Projection.DOWN: _shape(inner, ("mlp.down_proj", hidden)),
    }


def _shape(inputs: int, *modules: tuple[str, int]) -> ProjectionShape:
    parts, first = [], 0
    for module, rows in modules:
        parts.append(Part(module, first, rows))
        first += rows
    return ProjectionShape(inputs, tuple(parts))
