"""Names of KV blocks: equal keys if, and only if, everything that their KV was computed from is equal.

    key[-1] = blake2b(secret, revision, adapter, namespace)
    key[i]  = blake2b(secret, key[i - 1], tokens[i * B : (i + 1) * B])

A block's KV depends on every token before it, so the key is a chain (as vLLM's block hashes are). It is keyed (RFC
7693, MAC mode): without the secret nobody can make or test a key, and requests of different namespaces never have a
key in common, so no tenant learns by timing what another one cached. 128 bits: among 2^40 blocks two share a key with
probability 2^-49.

Inputs are token ids, the model's revision, the adapter and the namespace. Bound: full blocks only. Not for: KV that
does not start at position 0.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

KEY_BYTES = 16
SECRET_BYTES = 32
_PERSON = b"tierline.kv"


class KeyChain:
    """The keys of one context; it grows with its tokens."""

    def __init__(self, secret: bytes, root: bytes, block_tokens: int) -> None:
        self._empty = blake2b(key=secret, digest_size=KEY_BYTES, person=_PERSON)
        self._last = root
        self._block_tokens = block_tokens
        self._rest: list[int] = []

    def extend(self, token_ids: Sequence[int]) -> tuple[bytes, ...]:
        """Append tokens; returns the keys of the blocks that became full, in order."""
        self._rest += token_ids
        full = len(self._rest) // self._block_tokens
        if not full:
            return ()
        cut = full * self._block_tokens
        blocks = np.array(self._rest[:cut], "<i8").reshape(full, self._block_tokens)
        del self._rest[:cut]
        return tuple(self._next(block.tobytes()) for block in blocks)

    def _next(self, tokens: bytes) -> bytes:
        digest = self._empty.copy()
        digest.update(self._last)
        digest.update(tokens)
        self._last = digest.digest()
        return self._last


class KeySpace:
    """All keys of one model under one secret.

    Workers whose keys must agree, so that a router can look for prefixes, get the same secret; others draw their own.
    Raises `ValueError` when the secret is not `SECRET_BYTES` long.
    """

    def __init__(self, secret: bytes, model_revision: str, block_tokens: int) -> None:
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"secret has {len(secret)} bytes: give it {SECRET_BYTES}")
        self._secret = secret
        self._model_revision = model_revision
        self._block_tokens = block_tokens

    def chain(self, namespace: str, adapter: str = "") -> KeyChain:
        """Return an empty context's chain; only those of one `namespace` and `adapter` have keys in common."""
        root = blake2b(key=self._secret, digest_size=KEY_BYTES, person=_PERSON)
        for field in (self._model_revision, adapter, namespace):
            # Lengths keep fields apart: "a" + "bc" is not "ab" + "c".
            text = field.encode()
            root.update(len(text).to_bytes(8, "little") + text)
        return KeyChain(self._secret, root.digest(), self._block_tokens)
