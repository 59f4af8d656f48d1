"""Which worker probably holds the beginning of a prompt, as far as one gateway knows from what it sent where.

A prompt is cut into chunks of `CHUNK_TOKENS`; each has a key over all tokens up to its end. What was sent to a worker
is remembered as a set of keys, the least recently used forgotten first, no more of them than the worker's arena holds.
A prompt's leading chunks found there count as cached on that worker.

Inputs: token ids, the cache namespace and the adapter of a request. Bounds: `capacity_tokens / CHUNK_TOKENS` keys per
worker. It is a guess: workers evict by their own order and other gateways send to them too, so a wrong guess must cost
no more than a prompt computed anew, and nothing may wait for a worker because of it alone. The idea of routing by an
approximate tree of what each worker has seen is SGLang's cache-aware router (arXiv 2312.07104).
"""

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final

CHUNK_TOKENS: Final = 64
_KEY_BYTES: Final = 8
_CHUNK: Final = Struct(f"<{CHUNK_TOKENS}q")


def chunk_keys(token_ids: Sequence[int], namespace: str, adapter: str = "") -> tuple[bytes, ...]:
    """Return the keys of a prompt's full chunks; only prompts of one namespace and adapter have keys in common."""
    full = len(token_ids) // CHUNK_TOKENS
    if not full:
        return ()
    key = blake2b(f"{len(namespace)}:{namespace}{adapter}".encode(), digest_size=_KEY_BYTES).digest()
    keys = []
    for start in range(0, full * CHUNK_TOKENS, CHUNK_TOKENS):
        key = blake2b(key + _CHUNK.pack(*token_ids[start : start + CHUNK_TOKENS]), digest_size=_KEY_BYTES).digest()
        keys.append(key)
    return tuple(keys)


class PrefixMap:
    """What this gateway sent to which worker lately; pure state."""

    def __init__(self) -> None:
        self._sent: dict[str, OrderedDict[bytes, None]] = {}
        self._holders: Counter[bytes] = Counter()

    def sent(self, worker: str, keys: Iterable[bytes], capacity_tokens: int) -> None:
        """Note a prompt that `worker` computes, whose arena holds `capacity_tokens`."""
        known = self._sent.setdefault(worker, OrderedDict())
        # The tail first: a prefix must not be forgotten before what follows it.
        for key in reversed(tuple(keys)):
            self._holders[key] += key not in known
            known[key] = None
            known.move_to_end(key)
        while len(known) > max(capacity_tokens // CHUNK_TOKENS, 1):
            self._drop(known.popitem(last=False)[0])

    def cached_tokens(self, worker: str, keys: Sequence[bytes]) -> int:
        """Return how much of a prompt's beginning `worker` probably holds."""
        known = self._sent.get(worker)
        if not known:
            return 0
        found = next((number for number, key in enumerate(keys) if key not in known), len(keys))
        return found * CHUNK_TOKENS

    def forget(self, worker: str) -> None:
        """Drop what is known of a worker that is gone, with its memory."""
        for key in self._sent.pop(worker, ()):
            self._drop(key)

    def cached_anywhere(self, keys: Sequence[bytes]) -> int:
        """Return how much of a prompt's beginning some worker probably holds, whichever it is.

        Whoever holds a chunk holds those before it, as the tail is forgotten first; so it need not look at each.
        """
        return CHUNK_TOKENS * bisect_left(range(len(keys)), True, key=lambda at: keys[at] not in self._holders)

    def _drop(self, key: bytes) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
