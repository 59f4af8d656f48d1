"""An iteration as one program for the device: tokens of the state in, new tokens into the state, nothing waited for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tierline.scheduling.plans import BatchPlan
from tierline_worker.adapters.resident import ResidentAdapters
from tierline_worker.device.rows import ChunkRows, DeviceAttention, DeviceRows, tiles_of
from tierline_worker.device.sampler import Draw, choose
from tierline_worker.device.state import DeviceState
from tierline_worker.device.transport import Transport
from tierline_worker.model.decoder import Decoder


@dataclass(frozen=True, slots=True)
class Steps:
    """The model over the state of the device. Results are int64 [2, rows]: tokens, and 1 where logits are finite."""

    model: Decoder
    attention: DeviceAttention
    state: DeviceState
    transport: Transport
    block_tokens: int
    adapters: ResidentAdapters | None = None

    def decode(self, rows: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Compute one token of each row; `rows` int64 [2, n]: slots and positions.

        Only tensors of the device are read, so it can be captured and replayed with other contents of `rows`.
        """
        return self.sample(self.logits(rows), rows[0], rows[1] + 1, draw)

    def logits(self, rows: torch.Tensor) -> torch.Tensor:
        """Compute the first half of `decode`: float32 [n, vocab]."""
        slots, positions = rows
        places = self._places(slots, positions)
        attention = self.attention.over(DeviceRows(self.state.table, places, slots, positions + 1))
        token_ids = self.state.tokens[slots, positions]
        return self.model.forward(token_ids, positions, attention, torch.arange(rows.shape[1], device=rows.device))

    def mixed(self, plan: BatchPlan, draw: Draw, keys: Sequence[str] = ()) -> torch.Tensor:
        """Compute a plan with prompt chunks, or with adapters, `keys` by row ("" is none).

        The result has a column for each row that samples.
        """
        counts = plan.counts.astype(np.int64)
        ends, samples = np.cumsum(counts), np.flatnonzero(plan.samples)
        first, row_of = ends - counts, np.repeat(np.arange(len(counts)), counts)
        positions = np.arange(len(row_of)) - first[row_of] + plan.starts[row_of]
        chunk = slice(plan.decodes, None)
        slots, at, last, described, tiles, sampled = self.transport.send(
            plan.slots[row_of].astype(np.int64),
            positions.astype(np.int64),
            (ends - 1)[samples],
            np.stack((plan.slots, plan.starts, plan.counts, first))[:, chunk].astype(np.int64),
            tiles_of(counts[chunk], self.attention.query_tokens),
            np.stack((plan.slots, plan.starts + plan.counts))[:, samples].astype(np.int64),
        )
        chunked = plan.decodes < len(plan.slots)
        chunks = ChunkRows(described.to(torch.int32).contiguous(), tiles.to(torch.int32)) if chunked else None
        decodes = slice(None, plan.decodes)
        rows = DeviceRows(self.state.table, self._places(slots, at), slots[decodes], at[decodes] + 1, chunks)
        applied = self.adapters.batch(first, ends - 1, keys) if self.adapters is not None and any(keys) else None
        logits = self.model.forward(self.state.tokens[slots, at], at, self.attention.over(rows), last, applied)
        return self.sample(logits, sampled[0], sampled[1], draw)

    def _places(self, slots: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        blocks = self.state.table[slots, positions // self.block_tokens].long()
        return blocks * self.block_tokens + positions % self.block_tokens

    def sample(self, logits: torch.Tensor, slots: torch.Tensor, positions: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Choose the token at `positions` of `slots` and write it there."""
        tokens = choose(logits, self.state.parameters.at(slots), positions, draw)
        self.state.tokens[slots, positions] = tokens
        return torch.stack((tokens, torch.isfinite(logits.sum(-1)).long()))
