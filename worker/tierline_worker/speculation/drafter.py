"""The interface of what proposes tokens. A proposal that is wrong costs time and never changes an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DraftRows:
    """Texts to continue: row i is `tokens[slots[i], :lengths[i]]` and wants up to `wanted[i]` tokens.

    slots, lengths, wanted: int64 [n]; no slot twice. `tokens` [slots, length] belongs to the executor.
    """

    tokens: NDArray[np.int64]
    slots: NDArray[np.int64]
    lengths: NDArray[np.int64]
    wanted: NDArray[np.int64]

    def text(self, row: int) -> NDArray[np.int64]:
        """Return the tokens of one row."""
        return self.tokens[self.slots[row], : self.lengths[row]]


class Drafter(Protocol):
    """Proposes continuations. The same rows asked again give the same."""

    def forget(self, slot: int) -> None:
        """Note that `slot` holds another request from now on."""
        ...

    def propose(self, rows: DraftRows) -> list[list[Sequence[int]]]:
        """Return for each row its continuations, best first; none where nothing is known. Each has at most the wanted
        tokens."""
        ...


class Drafters:
    """Several drafters as one: the continuations of the first come first (SpecInfer's merged speculators)."""

    def __init__(self, drafters: Sequence[Drafter]) -> None:
        self._drafters = tuple(drafters)

    def forget(self, slot: int) -> None:
        """As `Drafter.forget`."""
        for drafter in self._drafters:
            drafter.forget(slot)

    def propose(self, rows: DraftRows) -> list[list[Sequence[int]]]:
        """As `Drafter.propose`."""
        proposals = [drafter.propose(rows) for drafter in self._drafters]
        return [[chain for row in chains for chain in row] for chains in zip(*proposals, strict=True)]
