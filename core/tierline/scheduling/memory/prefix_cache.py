"""Which blocks hold what: named full blocks, found again by requests whose context begins alike.

A block's name is its key, a chain over all tokens up to its end (`prefix_keys`), so equal keys mean equal KV and a hit
needs no comparison. Blocks nobody refers to stay here until room is needed; then the one that was let go first leaves
(LRU). Requests let their blocks go from the tail, and who refers to a block refers to all before it, so a prefix never
leaves before what follows it. Named blocks in one pool after vLLM's automatic prefix caching (Kwon et al., SOSP 2023).

Not for: context that is alike in the middle only; there the key of every block differs.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence


class PrefixCache:
    """Keys and blocks in pairs; which of the blocks are idle, that is named and without a reference."""

    def __init__(self) -> None:
        self._block_of: dict[bytes, int] = {}
        self._key_of: dict[int, bytes] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def idle(self) -> int:
        """Blocks that can be evicted."""
        return len(self._idle)

    @property
    def idle_list(self) -> tuple[int, ...]:
        """The idle blocks, the next one to be evicted first."""
        return tuple(self._idle)

    @property
    def pairs(self) -> tuple[tuple[bytes, int], ...]:
        """All keys with their blocks."""
        return tuple(self._block_of.items())

    def __contains__(self, block: int) -> bool:
        return block in self._key_of

    def block_of(self, key: bytes) -> int | None:
        """Return the block named `key`."""
        return self._block_of.get(key)

    def find(self, keys: Iterable[bytes]) -> list[int]:
        """Return the blocks of `keys` up to the first that is not here."""
        found = []
        for key in keys:
            block = self._block_of.get(key)
            if block is None:
                break
            found.append(block)
        return found

    def name(self, key: bytes, block: int) -> None:
        """Pair a referenced block with its key; neither has a pair yet."""
        assert key not in self._block_of, f"the key of block {block} names another one"
        assert block not in self._key_of, f"block {block} has a name"
        self._block_of[key] = block
        self._key_of[block] = key

    def retire(self, blocks: Sequence[int]) -> list[int]:
        """Keep those of `blocks` that are named, tail first, as idle; returns the others, which nobody can find."""
        if not self._key_of:
            return list(blocks)
        self._idle.update((block, None) for block in blocks if block in self._key_of)
        return [block for block in blocks if block not in self._key_of]

    def revive(self, block: int) -> None:
        """Take an idle block out of eviction's reach: someone refers to it again."""
        del self._idle[block]

    def evict(self, count: int) -> list[int]:
        """Forget the `count` idle blocks that were let go first, and return them."""
        blocks = [self._idle.popitem(last=False)[0] for _ in range(count)]
        for block in blocks:
            del self._block_of[self._key_of.pop(block)]
        return blocks

    def forget(self, block: int) -> None:
        """Take a referenced block's name away, if it has one: nobody finds it again."""
        assert block not in self._idle, f"block {block} is idle: evict it"
        key = self._key_of.pop(block, None)
        if key is not None:
            del self._block_of[key]

    def restore(self, pairs: Iterable[tuple[bytes, int]], idle: Iterable[int]) -> None:
        """Take over the pairs and idle blocks of another cache."""
        self._block_of = dict(pairs)
        self._key_of = {block: key for key, block in self._block_of.items()}
        self._idle = OrderedDict.fromkeys(idle)
