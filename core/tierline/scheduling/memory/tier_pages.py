"""The pages of a storage tier: numbers, as the arena's blocks are; the worker's stores hold the bytes."""

import numpy as np
from numpy.typing import NDArray


class PagePool:
    """The pages of one tier; a page is free or belongs to one saved context."""

    def __init__(self, pages: int) -> None:
        self.total = pages
        self._stack = np.arange(pages - 1, -1, -1, dtype=np.int32)
        self._top = pages

    @property
    def free(self) -> int:
        return self._top

    @property
    def free_list(self) -> NDArray[np.int32]:
        """The free pages, the next one to be taken last."""
        return self._stack[: self._top]

    def take(self, count: int) -> NDArray[np.int32]:
        """Return `count` pages, int32; the caller saw in `free` that they are there."""
        assert count <= self._top, f"{count} pages asked, {self._top} free"
        self._top -= count
        return self._stack[self._top : self._top + count][::-1].copy()

    def give_back(self, pages: NDArray[np.int32]) -> None:
        """Free pages that nobody will read any more."""
        self._stack[self._top : self._top + len(pages)] = pages[::-1]
        self._top += len(pages)

    def restore(self, free: tuple[int, ...]) -> None:
        """Take over the free list of a pool of the same size."""
        self._top = len(free)
        self._stack[: self._top] = free
