"""An iteration while it is composed, and while its result is awaited."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.latency import BatchFeatures
from tierline.scheduling.plans import AdapterLoad, Admitted, BatchPlan

_NO_DRAFTS: NDArray[np.int64] = np.empty(0, np.int64)


class Batch(msgspec.Struct):
    """An iteration in the making. `chunk_budget_ms` is the time that is left for prompts, `chunks` are rows
    (slot, start, count, complete), `partial` counts prompts that stay unfinished, `copies` are pairs of blocks,
    `kept_places` adapters for which a place must be left. `drafts` are those of `decodes`, empty if there are none, and
    `epoch` the switch's (see `speculation_switch`)."""

    iteration: int
    decodes: NDArray[np.int64]
    decode_starts: NDArray[np.int64]
    tokens_left: int
    chunk_budget_ms: float
    chunks: list[tuple[int, int, int, bool]] = []
    updates: list[NDArray[np.int32]] = []
    copies: list[tuple[int, int]] = []
    admitted: list[Admitted] = []
    adapters: list[AdapterLoad] = []
    kept_places: int = 0
    partial: int = 0
    drafts: NDArray[np.int64] = _NO_DRAFTS
    epoch: int = 0

    @property
    def empty(self) -> bool:
        return not len(self.decodes) and not self.chunks


class InFlight(msgspec.Struct, frozen=True):
    """A plan without its result yet. `epoch` is the one of the speculation switch that it belongs to, 0 for none."""

    plan: BatchPlan
    features: BatchFeatures
    epoch: int = 0


class DecodeColumns:
    """What a plan says of rows that decode: slot, one token, sampled; the same arrays while the same rows go on."""

    def __init__(self, slots: int) -> None:
        self._decodes = np.empty(0, np.int64)
        self._ones, self._all = np.ones(slots, np.int32), np.ones(slots, np.bool_)
        self._columns = np.empty(0, np.int32), self._ones[:0], self._all[:0]

    def of(self, decodes: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
        """Return slots, counts and samples of `decodes`; nobody may write into them."""
        if decodes is not self._decodes:
            self._decodes, rows = decodes, len(decodes)
            self._columns = decodes.astype(np.int32), self._ones[:rows], self._all[:rows]
        return self._columns
