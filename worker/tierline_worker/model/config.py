"""The architecture of a decoder-only model: its sizes, and what its family computes differently.

Only what the forward pass implements is accepted; everything else is refused by name, since a silently ignored
setting (a rope scaling, a bias) gives wrong text instead of an error.
"""

from dataclasses import dataclass
from pathlib import Path

from tierline_worker.errors import ModelError

SUPPORTED = "Llama, SmolLM2, Mistral, Qwen2 and Qwen3: use such a GGUF file or Hugging Face directory"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes are counts of elements; `max_positions` is the longest context in tokens that is computed exactly.

    `qkv_bias`: query, key and value have biases. `qk_norm`: each head of query and key is normalised before it is
    rotated. `rope_divisors` [head_dim / 2] slow the rotation of each pair down; empty means by 1.
    `rope_magnitude` multiplies what was rotated.
    """

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
    qkv_bias: bool = False
    qk_norm: bool = False
    rope_divisors: tuple[float, ...] = ()
    rope_magnitude: float = 1.0

    @property
    def group(self) -> int:
        """Query heads that share one key/value head."""
        return self.heads // self.kv_heads


def check_sizes(config: ModelConfig, source: Path) -> ModelConfig:
    """Return `config` when its numbers fit together; raises `ModelError`."""
    sizes = (config.vocab_size, config.hidden_size, config.intermediate_size, config.layers, config.max_positions)
    if min(*sizes, config.kv_heads, config.head_dim) < 1:
        raise ModelError(source, "a size in its configuration is below 1", "fetch the model again")
    if config.heads % config.kv_heads or config.head_dim % 2:
        problem = f"{config.heads} heads of {config.head_dim} do not divide over {config.kv_heads} key/value heads"
        raise ModelError(source, problem, "fetch the model again")
    if len(config.rope_divisors) not in (0, config.head_dim // 2):
        problem = f"it has {len(config.rope_divisors)} rope factors for heads of {config.head_dim}"
        raise ModelError(source, problem, "fetch the model again")
    return config


def exact_positions(positions: int, window: int | None) -> int:
    """Return the longest context that full attention computes as the model defines it.

    Up to the length of its window sliding-window attention is full attention, so the context ends there.
    """
    return min(positions, window) if window else positions
