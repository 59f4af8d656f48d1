"""The bytes of single tokens, also of those that are only a part of a character.

A decoder of whole texts cannot tell them: it writes U+FFFD for a lone part. So the vocabulary's own spelling is read:
GPT-2's alphabet of printable stand-ins for bytes, or SentencePiece's `<0x0A>` and `▁`.
"""

import re
from functools import cached_property
from typing import Protocol

from tokenizers import Tokenizer as Backend
from tokenizers.pre_tokenizers import ByteLevel

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "▁"


class HasBackend(Protocol):
    """Whatever wraps a tokenizer of the tokenizers library."""

    @property
    def backend(self) -> Backend: ...


class TokenBytes:
    """Looks up the tokens of one vocabulary."""

    def __init__(self, tokenizer: HasBackend) -> None:
        self._backend = tokenizer.backend

    def of(self, token_id: int) -> bytes:
        """Return the token's bytes, of a special token those of its name; empty for an id that names no token."""
        spelling = self._backend.id_to_token(token_id) or ""
        if token_id in self._added:
            return spelling.encode()
        if self._byte_level:
            return b"".join(_byte_of(character) for character in spelling)
        byte = _BYTE.fullmatch(spelling)
        return bytes([int(byte[1], 16)]) if byte else spelling.replace(_SPACE, " ").encode()

    @cached_property
    def _added(self) -> frozenset[int]:
        return frozenset(self._backend.get_added_tokens_decoder())

    @cached_property
    def _byte_level(self) -> bool:
        """Whether spellings are GPT-2's; decoders tell their steps only in their representation."""
        return "ByteLevel" in repr(self._backend.decoder)


def _alphabet() -> dict[str, bytes]:
    """Return GPT-2's alphabet: printable bytes stand for themselves, the others for 256 and on, in order."""
    plain = sorted(character for character in ByteLevel.alphabet() if ord(character) < 256)
    others = sorted(set(range(256)) - {ord(character) for character in plain})
    known = {character: bytes([ord(character)]) for character in plain}
    return known | {chr(256 + at): bytes([value]) for at, value in enumerate(others)}


_BYTES = _alphabet()


def _byte_of(character: str) -> bytes:
    return _BYTES.get(character, character.encode())
