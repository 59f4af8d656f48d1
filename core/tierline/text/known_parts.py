"""Token ids of prompts whose parts came before: system prompts, and the earlier turns of a conversation.

    ids(text) = ids(part 1) + ids(part 2) + ...        cut before special tokens

A tokenizer takes special tokens out of a text first and encodes what is between them, each piece by itself; so this is
exact. Tokens that look at what stands before them (`lstrip`, `single_word`), that are sought in the normalized text,
or that another added token may overlap, cut nothing.

Inputs: a text with special tokens in it, as a chat template writes them. Bounds: `MOST_CHARACTERS` of parts, the least
recently used go first. When not to use it: for plain text, which has no parts and seldom comes twice.
"""

import re
from collections import OrderedDict
from itertools import chain
from threading import Lock
from typing import Final

import tokenizers

MOST_CHARACTERS: Final = 4_000_000


class KnownParts:
    """Encodes texts, each part once while it is remembered. May be asked from several threads."""

    def __init__(self, backend: tokenizers.Tokenizer, most_characters: int = MOST_CHARACTERS) -> None:
        self._backend = backend
        self._most_characters = most_characters
        self._characters = 0
        self._known: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._lock = Lock()
        cuts = _cutting_tokens(backend)
        self._cut = re.compile(f"(?={'|'.join(map(re.escape, cuts))})") if cuts else None

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text to which nothing is added."""
        if self._cut is None:
            return self._encoded(text)
        return tuple(chain.from_iterable(map(self._ids_of, filter(None, self._cut.split(text)))))

    def _ids_of(self, part: str) -> tuple[int, ...]:
        with self._lock:
            known = self._known.get(part)
            if known is not None:
                self._known.move_to_end(part)
                return known
        # Encoding frees the interpreter for other threads, which must not wait for this one then.
        ids = self._encoded(part)
        with self._lock:
            self._remember(part, ids)
        return ids

    def _remember(self, part: str, ids: tuple[int, ...]) -> None:
        if part not in self._known:
            self._known[part] = ids
            self._characters += len(part)
        while self._characters > self._most_characters:
            self._characters -= len(self._known.popitem(last=False)[0])

    def _encoded(self, text: str) -> tuple[int, ...]:
        # The faster of the backend's ways does not look for where in the text each token stands.
        return tuple(self._backend.encode_batch_fast([text], add_special_tokens=False)[0].ids)


def _cutting_tokens(backend: tokenizers.Tokenizer) -> list[str]:
    added = list(backend.get_added_tokens_decoder().values())
    plain = [token for token in added if token.special and not (token.normalized or token.lstrip or token.single_word)]
    others = [token.content for token in added]
    return [token.content for token in plain if not any(_overlaps(other, token.content) for other in others)]


def _overlaps(other: str, cut: str) -> bool:
    """Whether `other` may begin before `cut` in a text and end in it or after it."""
    inside = cut in other and not other.startswith(cut)
    return inside or any(other.endswith(cut[:length]) for length in range(1, len(cut)))
