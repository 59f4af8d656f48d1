"""Proposes what followed the last time the text ended like now (prompt lookup decoding, Saxena 2023).

Code, quotations, extracted fields and lists repeat their context word for word. Each slot has an index from the n-grams
of its text to where they last ended, and to where they ended before with another token behind them. It grows by the new
tokens only, so a token costs O(1). Longer n-grams are asked first; the next match that goes on with another token is
the second guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tierline_worker.speculation.drafter import DraftRows

LONGEST = 4
SHORTEST = 2
GUESSES = 2
_TOKEN_BITS = 24


@dataclass(slots=True)
class _Index:
    """`latest` and `other` map an n-gram to the position behind it; `indexed` tokens were put in."""

    latest: dict[int, int] = field(default_factory=dict)
    other: dict[int, int] = field(default_factory=dict)
    indexed: int = 0


class NGramDrafter:
    """A `Drafter` without a model."""

    def __init__(self) -> None:
        self._indexes: dict[int, _Index] = {}

    def forget(self, slot: int) -> None:
        """As `Drafter.forget`."""
        self._indexes.pop(slot, None)

    def propose(self, rows: DraftRows) -> list[list[Sequence[int]]]:
        """As `Drafter.propose`: the latest continuation, and the one before that began otherwise."""
        return [
            self._continuations(slot, rows.text(row), wanted)
            for row, (slot, wanted) in enumerate(zip(rows.slots.tolist(), rows.wanted.tolist(), strict=True))
        ]

    def _continuations(self, slot: int, text: NDArray[np.int64], wanted: int) -> list[Sequence[int]]:
        index = self._indexes.setdefault(slot, _Index())
        _grow(index, text)
        tail = text[-LONGEST:].tolist()
        places: list[int] = []
        for length in range(min(LONGEST, len(tail)), SHORTEST - 1, -1):
            key = _key(tail[-length:])
            for place in (index.latest.get(key), index.other.get(key)):
                if place is not None and len(places) < GUESSES and _differs(text, place, places):
                    places.append(place)
        return [_copied(text, begin, wanted) for begin in places]


def _grow(index: _Index, text: NDArray[np.int64]) -> None:
    """Put in every n-gram that has a token behind it."""
    begin = max(index.indexed - LONGEST, 0)
    recent = text[begin:].tolist()
    for position in range(max(index.indexed, SHORTEST), len(text)):
        at = position - begin
        for length in range(SHORTEST, min(LONGEST, position) + 1):
            _put(index, _key(recent[at - length : at]), position, text)
    index.indexed = max(index.indexed, len(text))


def _put(index: _Index, key: int, position: int, text: NDArray[np.int64]) -> None:
    before = index.latest.get(key)
    if before is not None and text[before] != text[position]:
        index.other[key] = before
    index.latest[key] = position


def _differs(text: NDArray[np.int64], place: int, others: Sequence[int]) -> bool:
    return all(text[place] != text[other] for other in others)


def _copied(text: NDArray[np.int64], begin: int, wanted: int) -> list[int]:
    """Return the tokens from `begin`; past the text's end the copy goes on with what it copied, as a period does."""
    copied: list[int] = text[begin : begin + wanted].tolist()
    while len(copied) < wanted:
        copied.append(copied[len(copied) - (len(text) - begin)])
    return copied


def _key(tokens: Sequence[int]) -> int:
    """Return a number for an n-gram, another one for each."""
    key = len(tokens)
    for token in tokens:
        key = key << _TOKEN_BITS | token
    return key
