"""What lives on the device from iteration to iteration: tokens, block tables and sampling parameters of all slots.

Plans change it by deltas. The sampler writes each new token to its place here, where the next iteration reads it: so
the next one needs no token from the host. One slot more than there are requests takes the rows that pad a batch.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tierline.wire.frames import Sampling
from tierline_worker.device.sampler import Draw, DrawParameters
from tierline_worker.device.transport import Transport
from tierline_worker.sampling.draw import LEAST_TEMPERATURE
from tierline_worker.slots import SlotLoad, SlotTable

_UINT64 = 2**64 - 1


class DeviceState:
    """tokens int64 [slots + 1, positions]; table int32 [slots + 1, width]; `padding` is the slot of padding rows.

    `spare_block` is a block that no request gets: the padding slot's context.
    """

    def __init__(self, slots: SlotTable, spare_block: int, transport: Transport) -> None:
        rows = slots.tokens.shape[0] + 1
        device = transport.device
        self._transport = transport
        self.padding = rows - 1
        self.tokens = torch.zeros((rows, slots.tokens.shape[1]), dtype=torch.int64, device=device)
        self.table = torch.zeros((rows, slots.blocks.shape[1]), dtype=torch.int32, device=device)
        self.table[self.padding] = spare_block
        self.parameters = DrawParameters(
            torch.zeros(rows, dtype=torch.float32, device=device),
            torch.ones(rows, dtype=torch.float32, device=device),
            torch.zeros(rows, dtype=torch.float32, device=device),
            torch.zeros(rows, dtype=torch.int64, device=device),
            torch.zeros(rows, dtype=torch.int64, device=device),
        )
        self._draws = np.zeros(rows, np.int64)

    def load(self, loads: Sequence[SlotLoad]) -> None:
        """Take over newly admitted requests."""
        if not loads:
            return
        for load in loads:
            self._draws[load.slot] = _draw_of(load.sampling)
        lengths = [len(load.token_ids) for load in loads]
        slots = np.array([load.slot for load in loads], np.int64)
        ids = np.concatenate([np.array(load.token_ids, np.int64) for load in loads])
        positions = np.concatenate([np.arange(length, dtype=np.int64) for length in lengths])
        self._write_tokens(np.repeat(slots, lengths), positions, ids)
        self._write_parameters(slots, [load.sampling for load in loads])

    def update_blocks(self, updates: NDArray[np.int32]) -> None:
        """Apply rows (slot, index, block) of a plan to the block table."""
        if len(updates):
            slots, indexes, blocks = self._transport.send(*np.ascontiguousarray(updates.T, np.int64))
            self.table[slots, indexes] = blocks.to(torch.int32)

    def copy_tokens(self, table: SlotTable, slots: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        """Take over tokens that the host chose: those of `table` at (slots, positions)."""
        self._write_tokens(slots, positions, table.tokens[slots, positions])

    def draw(self, slots: NDArray[np.int32]) -> Draw:
        """Return what sampling `slots` needs at the most."""
        return Draw(int(self._draws[slots].max(initial=Draw.GREEDY)))

    def _write_tokens(self, slots: NDArray[np.int64], positions: NDArray[np.int64], ids: NDArray[np.int64]) -> None:
        to_slots, to_positions, values = self._transport.send(slots, positions, ids)
        self.tokens[to_slots, to_positions] = values

    def _write_parameters(self, slots: NDArray[np.int64], samplings: Sequence[Sampling]) -> None:
        shares = np.array([(each.temperature, each.top_p, each.min_p) for each in samplings], np.float64)
        top_k = np.array([each.top_k for each in samplings], np.int64)
        seed = np.array([each.seed & _UINT64 for each in samplings], np.uint64).view(np.int64)
        at, new_shares, new_top_k, new_seed = self._transport.send(slots, shares.view(np.int64), top_k, seed)
        to = self.parameters
        for column, values in zip((to.temperature, to.top_p, to.min_p), new_shares.T, strict=True):
            column[at] = values.contiguous().view(torch.float64).float()
        to.top_k[at] = new_top_k
        to.seed[at] = new_seed


def _draw_of(sampling: Sampling) -> Draw:
    if sampling.temperature < LEAST_TEMPERATURE:
        return Draw.GREEDY
    limited = sampling.top_k > 0 or sampling.top_p < 1.0 or sampling.min_p > 0.0
    return Draw.LIMITED if limited else Draw.FREE
