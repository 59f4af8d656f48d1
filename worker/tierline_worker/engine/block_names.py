"""Names the full blocks of each request's context, so that others with the same beginning find them.

The core sees no tokens. The keys of a prompt go along with its submit; those of blocks that generated tokens fill
follow as the tokens come, so an answer is found again as part of the next prompt of its conversation.
"""

from collections.abc import Iterable, Sequence

from tierline.scheduling.memory.prefix_keys import KeyChain


class BlockNames:
    """The keys of one request's blocks; `keys` are those of the context that it came with."""

    def __init__(self, chain: KeyChain, token_ids: Sequence[int]) -> None:
        self._chain = chain
        self.keys = chain.extend(token_ids)
        self._named = len(self.keys)

    def extend(self, token_ids: Sequence[int]) -> Iterable[tuple[int, bytes]]:
        """Append generated tokens; returns the index and key of each block that they filled."""
        first = self._named
        keys = self._chain.extend(token_ids)
        self._named += len(keys)
        return enumerate(keys, first)
