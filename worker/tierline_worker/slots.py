"""What the executor keeps per slot: token ids, blocks and sampling parameters, as arrays that plans index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.plans import BatchPlan
from tierline.wire.credits import blocks_for
from tierline.wire.frames import Sampling
from tierline_worker.sampling import SamplingRows

_UINT64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class SlotLoad:
    """A request's known tokens (prompt and what was emitted), how to sample, and with which adapter ("" is none)."""

    slot: int
    token_ids: list[int]
    sampling: Sampling
    adapter: str = ""


class SlotTable:
    """Persistent arrays of [slots, ...]; `tokens[slot, position]` is the truth about a request's text."""

    def __init__(self, slots: int, max_model_tokens: int, block_tokens: int, eos_token_ids: tuple[int, ...]) -> None:
        self.tokens = np.zeros((slots, max_model_tokens + 1), dtype=np.int64)
        self.blocks = np.zeros((slots, blocks_for(max_model_tokens, block_tokens)), dtype=np.int64)
        self._temperature = np.zeros(slots, dtype=np.float32)
        self._top_p = np.ones(slots, dtype=np.float32)
        self._top_k = np.zeros(slots, dtype=np.int64)
        self._seed = np.zeros(slots, dtype=np.uint64)
        self._stop: list[frozenset[int]] = [frozenset()] * slots
        self._adapter = [""] * slots
        self._eos = frozenset(eos_token_ids)

    def load(self, load: SlotLoad) -> None:
        """Fill a slot for a newly admitted request."""
        slot, sampling = load.slot, load.sampling
        self.tokens[slot, : len(load.token_ids)] = load.token_ids
        self._temperature[slot] = sampling.temperature
        self._top_p[slot] = sampling.top_p
        self._top_k[slot] = sampling.top_k
        self._seed[slot] = sampling.seed & _UINT64
        stop = frozenset(sampling.stop_token_ids)
        self._adapter[slot] = load.adapter
        self._stop[slot] = stop if sampling.ignore_eos else stop | self._eos

    def update_blocks(self, plan: BatchPlan) -> None:
        slots, indices, blocks = plan.block_updates.T
        self.blocks[slots, indices] = blocks

    def adapters(self, slots: NDArray[np.int32]) -> list[str]:
        """Return each slot's adapter."""
        return [self._adapter[slot] for slot in slots.tolist()]

    def sampling_rows(self, slots: NDArray[np.int64], positions: NDArray[np.int64]) -> SamplingRows:
        return SamplingRows(
            self._temperature[slots], self._top_p[slots], self._top_k[slots], self._seed[slots], positions
        )

    def stops(self, slots: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each slot whether its new token ends it."""
        pairs = zip(slots.tolist(), tokens.tolist(), strict=True)
        return np.fromiter((token in self._stop[slot] for slot, token in pairs), dtype=np.bool_, count=len(slots))
