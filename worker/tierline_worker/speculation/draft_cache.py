"""The draft model's own KV: which blocks belong to whom, and for which tokens they were computed.

The cache follows the texts of the executor's slots. What was computed for drafts that were then rejected is found by
comparing tokens, and computed again. Where blocks run out, the slot that drafted longest ago loses its own: it only
costs time, since a request without a draft cache goes on without drafts or catches up.
"""

import numpy as np
from numpy.typing import NDArray

from tierline.wire.credits import blocks_for


class DraftCache:
    """Per slot: `tables` [slots, width] block numbers, `computed` positions whose KV is there, `fed` [slots, length]
    the tokens that it was computed for."""

    def __init__(self, slots: int, max_tokens: int, blocks: int, block_tokens: int) -> None:
        self.tables = np.zeros((slots, blocks_for(max_tokens, block_tokens)), np.int64)
        self.computed = np.zeros(slots, np.int64)
        self.fed = np.full((slots, max_tokens), -1, np.int64)
        self.max_tokens = max_tokens
        self._block_tokens = block_tokens
        self._owned = np.zeros(slots, np.int64)
        self._agreed = np.zeros(slots, np.int64)
        self._used = np.zeros(slots, np.int64)
        self._clock = 0
        self._free = list(range(blocks - 1, -1, -1))

    def forget(self, slot: int) -> None:
        """Give the blocks of `slot` back."""
        self._free.extend(self.tables[slot, : self._owned[slot]].tolist())
        self._owned[slot] = self.computed[slot] = self._agreed[slot] = 0

    def follow(self, slot: int, text: NDArray[np.int64]) -> None:
        """Keep of `slot` what was computed for `text`, at least its last token aside, which is computed again."""
        agreed, computed = int(self._agreed[slot]), min(int(self.computed[slot]), len(text) - 1)
        differing = np.flatnonzero(self.fed[slot, agreed:computed] != text[agreed:computed])
        self.computed[slot] = agreed + int(differing[0]) if len(differing) else max(computed, 0)
        self._agreed[slot] = min(int(self.computed[slot]), len(text) - 1)

    def reserve(self, slot: int, tokens: int, busy: NDArray[np.int64]) -> bool:
        """Give `slot` blocks for `tokens` positions, from slots not in `busy` if need be; False: there are none."""
        self._clock += 1
        self._used[slot] = self._clock
        missing = blocks_for(tokens, self._block_tokens) - int(self._owned[slot])
        while missing > len(self._free):
            if (victim := self._longest_idle(busy)) is None:
                return False
            self.forget(victim)
        for _ in range(missing):
            self.tables[slot, self._owned[slot]] = self._free.pop()
            self._owned[slot] += 1
        return True

    def _longest_idle(self, busy: NDArray[np.int64]) -> int | None:
        candidates = np.setdiff1d(np.flatnonzero(self._owned), busy)
        return int(candidates[self._used[candidates].argmin()]) if len(candidates) else None
