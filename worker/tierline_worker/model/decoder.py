"""The decoder's forward pass over a flat batch of tokens: no padding, any mix of prefill chunks and decodes.

One flow serves all families; what they differ in (biases, norms of query and key) is data of a layer.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from tierline_worker.adapters.applying import AppliesAdapters
from tierline_worker.adapters.projections import Projection
from tierline_worker.attention.backend import PreparedAttention, Turn
from tierline_worker.model.config import ModelConfig
from tierline_worker.model.linear import Linear
from tierline_worker.model.residual import add_and_norm
from tierline_worker.model.rope import Rope


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """Weights of one layer; query, key and value rows are one matrix, gate and up rows another.

    `qk_norm` [heads + kv_heads, head_dim] scales the normalised heads of query and key, None where they are not.
    """

    attention_norm: torch.Tensor
    qkv: Linear
    qk_norm: torch.Tensor | None
    output: Linear
    mlp_norm: torch.Tensor
    gate_up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class _Pass:
    """What the layers of one forward pass share; `adapters` is None where no token has one."""

    turn: Turn
    attention: PreparedAttention
    adapters: AppliesAdapters | None

    def project(self, linear: Linear, layer: int, projection: Projection, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's product with what the tokens' adapters add to it."""
        out = linear(x)
        if self.adapters is not None:
            self.adapters.add(layer, projection, x, out)
        return out


@dataclass(frozen=True, slots=True)
class Decoder:
    """All weights and the forward pass. `dtype` is that of the embedding and the KV; hidden states have the norms'."""

    config: ModelConfig
    dtype: torch.dtype
    embedding: torch.Tensor
    layers: tuple[DecoderLayer, ...]
    norm: torch.Tensor
    head: Linear
    rope: Rope

    @property
    def weight_bytes(self) -> int:
        """Memory that all weights take."""
        linears = (linear for layer in self.layers for linear in (layer.qkv, layer.output, layer.gate_up, layer.down))
        return self.embedding.nbytes + self.head.weight_bytes + sum(linear.weight_bytes for linear in linears)

    def forward(
        self,
        token_ids: torch.Tensor,
        positions: torch.Tensor,
        attention: PreparedAttention,
        rows: torch.Tensor,
        adapters: AppliesAdapters | None = None,
    ) -> torch.Tensor:
        """Return logits [len(rows), vocab] in float32 of the flat positions `rows`.

        `token_ids` and `positions` are int64 [tokens]; `attention` holds the batch's shape and writes its KV;
        `adapters` is None where no token has one.
        """
        hidden = self.embedding[token_ids].to(self.norm.dtype)
        shared = _Pass(Turn(self.rope.at(positions), self.config.rms_epsilon), attention, adapters)
        normed = self._normed(hidden, self.layers[0].attention_norm)
        for index, layer in enumerate(self.layers):
            attended = self._attend(layer, index, normed, shared)
            normed = add_and_norm(hidden, attended, layer.mlp_norm, self.config.rms_epsilon)
            added = self._mlp(layer, index, normed, shared)
            if index + 1 < len(self.layers):
                normed = add_and_norm(hidden, added, self.layers[index + 1].attention_norm, self.config.rms_epsilon)
        return self.head(self._normed(hidden[rows] + added[rows], self.norm)).float()

    def _attend(self, layer: DecoderLayer, index: int, normed: torch.Tensor, shared: _Pass) -> torch.Tensor:
        heads = shared.project(layer.qkv, index, Projection.QKV, normed).view(normed.shape[0], -1, self.config.head_dim)
        attended = shared.attention.attend_heads(index, heads, shared.turn, layer.qk_norm).view(normed.shape[0], -1)
        return shared.project(layer.output, index, Projection.OUTPUT, attended)

    def _mlp(self, layer: DecoderLayer, index: int, normed: torch.Tensor, shared: _Pass) -> torch.Tensor:
        gate, up = shared.project(layer.gate_up, index, Projection.GATE_UP, normed).chunk(2, dim=-1)
        return shared.project(layer.down, index, Projection.DOWN, functional.silu(gate) * up)

    def _normed(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x, (self.config.hidden_size,), weight, self.config.rms_epsilon)
