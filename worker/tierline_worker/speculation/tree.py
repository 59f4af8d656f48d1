"""What is proposed to follow a text: a tree of tokens, most often a chain.

Several continuations that begin alike share the tokens they have in common, so that one pass verifies them all
(SpecInfer, Miao et al., ASPLOS 2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROOT = -1
"""The parent of what follows the text directly."""


@dataclass(frozen=True, slots=True)
class TokenTree:
    """Token `tokens[j]` follows token `parents[j]`, which precedes it in the tree, or the text itself (`ROOT`)."""

    tokens: tuple[int, ...] = ()
    parents: tuple[int, ...] = ()

    @staticmethod
    def chain(tokens: Sequence[int]) -> "TokenTree":
        """Return the tree of one continuation."""
        return TokenTree(tuple(tokens), tuple(range(ROOT, len(tokens) - 1)))

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def branches(self) -> bool:
        """True where the tokens do not simply follow each other."""
        return any(parent != index - 1 for index, parent in enumerate(self.parents))

    @property
    def depths(self) -> NDArray[np.int64]:
        """How far each token lies behind the text, 1 for what follows it directly."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(1 if parent == ROOT else depths[parent] + 1)
        return np.array(depths, np.int64)

    def path_to(self, node: int) -> list[int]:
        """Return the nodes from the text to `node`, itself included."""
        path: list[int] = []
        while node != ROOT:
            path.append(node)
            node = self.parents[node]
        return path[::-1]

    def child(self, node: int, token: int) -> int | None:
        """Return the node of `token` behind `node`, None if it was not proposed there."""
        for index in range(node + 1, len(self.tokens)):
            if self.parents[index] == node and self.tokens[index] == token:
                return index
        return None


def merge(chains: Sequence[Sequence[int]], most: int) -> TokenTree:
    """Return the tree of `chains`, best first, with at most `most` tokens.

    The first chain takes all but one token for each other chain that disagrees with it: the chance that its last token
    is reached is the product of all before it, a second guess at an early place is worth more.
    """
    if not chains:
        return TokenTree()
    best = tuple(chains[0])
    others = [chain for chain in chains[1:] if _first_difference(best, chain) is not None]
    length = min(len(best), max(most - len(others), min(most, 1)))
    tokens, parents = list(best[:length]), list(range(ROOT, length - 1))
    for chain in others:
        place = _first_difference(best[:length], chain)
        if place is None or len(tokens) >= most or (place - 1, chain[place]) in zip(parents, tokens, strict=True):
            continue
        tokens.append(chain[place])
        parents.append(place - 1)
    spare = most - len(tokens)
    if spare and length < len(best) and len(tokens) == length:
        return TokenTree.chain(best[: length + spare])
    return TokenTree(tuple(tokens), tuple(parents))


def _first_difference(best: Sequence[int], other: Sequence[int]) -> int | None:
    """Return the first place where `other` says something else than `best`, None where it says nothing new."""
    for place, (left, right) in enumerate(zip(best, other, strict=False)):
        if left != right:
            return place
    return len(best) if len(other) > len(best) else None
