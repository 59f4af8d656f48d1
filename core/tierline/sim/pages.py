"""The KV pages of a pretended device, which know whose context they hold.

Real KV at a position is a function of every token up to it, and of the adapter. So a place here holds a fingerprint of
the whole context up to its position. Reading the pages of another context, of one that is alike only in its tokens but
not in its domain, or a place that was freed and poisoned, is noticed, wherever it lies.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.plans import EngineLimits

POISON = -1
_WEIGHTS_SEED = 20_231_026


class CorruptContext(AssertionError):
    """A plan made the executor read KV that is not the request's context."""


class Pages:
    """`total_blocks` blocks of places, each with one fingerprint."""

    def __init__(self, limits: EngineLimits) -> None:
        self._block_tokens = limits.block_tokens
        self._prints = np.full((limits.total_blocks, limits.block_tokens), POISON, np.int64)
        random = np.random.default_rng(_WEIGHTS_SEED)
        self._weights = random.integers(1, 1 << 62, limits.max_model_tokens + 1, np.int64)

    def write(self, table: NDArray[np.int32], start: int, tokens: NDArray[np.int64], domain: str) -> None:
        """Compute the KV of `tokens` from position `start` on, reading what is before; raises `CorruptContext`."""
        prints = self._fingerprints(tokens, domain)
        self._check(table, prints[:start])
        self._prints[self._places(table, np.arange(start, len(tokens)))] = prints[start:]

    def read(self, table: NDArray[np.int32], tokens: NDArray[np.int64], domain: str) -> None:
        """Read the KV of all `tokens`; raises `CorruptContext` when it is not there."""
        self._check(table, self._fingerprints(tokens, domain))

    def copy(self, copies: NDArray[np.int32]) -> None:
        """Copy blocks, rows (source, target)."""
        self._prints[copies[:, 1]] = self._prints[copies[:, 0]]

    def fill(self, blocks: NDArray[np.int32], adapter: str) -> None:
        """Write an adapter's weights over all of `blocks`."""
        self._prints[blocks] = zlib.crc32(adapter.encode())

    def holds(self, blocks: NDArray[np.int32], adapter: str) -> bool:
        """Say whether all of `blocks` hold an adapter's weights."""
        return bool((self._prints[blocks] == zlib.crc32(adapter.encode())).all())

    def saved(self, blocks: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return what `blocks` hold, [blocks, block_tokens]."""
        return self._prints[blocks].copy()

    def load(self, blocks: NDArray[np.int32], saved: NDArray[np.int64]) -> None:
        """Put back what `saved` returned."""
        self._prints[blocks] = saved

    def poison(self, blocks: NDArray[np.int32]) -> None:
        """Spoil `blocks`: whoever reads them before they are written again has been given what is not its own."""
        self._prints[blocks] = POISON

    def _check(self, table: NDArray[np.int32], prints: NDArray[np.int64]) -> None:
        wrong = np.flatnonzero(self._prints[self._places(table, np.arange(len(prints)))] != prints)
        if len(wrong):
            raise CorruptContext(f"position {wrong[0]} of {len(prints)} is not of this context")

    def _places(self, table: NDArray[np.int32], positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        blocks = table[positions // self._block_tokens]
        if (blocks < 0).any():
            raise CorruptContext("a position without a block")
        return blocks.astype(np.int64), positions % self._block_tokens

    def _fingerprints(self, tokens: NDArray[np.int64], domain: str) -> NDArray[np.int64]:
        # int64 sums wrap around, as meant.
        return zlib.crc32(domain.encode()) + np.cumsum((tokens + 1) * self._weights[: len(tokens)])
